//! `probelet down`.

use std::time::Duration;

use probelet_agent::Egress;
use probelet_agent::control::{self, AskError, Request};
use probelet_agent::pod_ip::Cidr;
use probelet_agent::{Agent, Options};

use crate::cli::Down;
use crate::up::{shim_command, unpack_command};

pub(crate) async fn run(options: Down) -> anyhow::Result<()> {
    let data_dir = options.place.data_dir()?;
    if !data_dir.path().exists() {
        println!("nothing is there: {}", data_dir.path().display());
        return Ok(());
    }
    match control::ask(
        &data_dir,
        &Request::Down {
            delete: options.delete,
        },
        |_| false,
    )
    .await
    {
        Ok(()) => {
            // It has answered and is on its way out; the lock says when it has gone.
            while data_dir.is_locked() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Err(AskError::NoAgent { .. }) => {
            let agent = Agent::start(Options {
                data_dir: data_dir.clone(),
                pod_cidr: Cidr::default(),
                // What stands keeps its way out as long as it does; nothing new starts.
                egress: Egress::None,
                pod_pids_limit: None,
                shim_command: shim_command()?,
                unpack_command: unpack_command()?,
                registries: probelet_image::Registries::default(),
                api: None,
                default_runtime_class: None,
                stop: true,
                apply: Vec::new(),
                notice: |_nothing_starts| {},
            })
            .await?;
            agent.down(options.delete).await;
            agent.end().await;
        }
        Err(error) => return Err(error.into()),
    }
    println!(
        "{}",
        if options.delete {
            "everything is deleted"
        } else {
            "every pod is stopped"
        }
    );
    Ok(())
}

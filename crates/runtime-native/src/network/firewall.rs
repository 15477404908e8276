//! The table of our own, written by the program `nft` in one transaction, and what others' tables do to pods.
//!
//! Nothing is ever written to a table that is not ours.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::forwarding;
use super::plan::{Plan, V6_BITS};

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub(super) enum FirewallError {
    #[error("the program nft (package nftables) is not there")]
    Missing,
    #[error("nft: {0}")]
    Start(#[source] io::Error),
    #[error("nft says: {0}")]
    Refused(String),
}

/// Makes the table as it has to be, whatever it was before. Blocks.
pub(super) fn set_up(plan: &Plan) -> Result<(), FirewallError> {
    nft(&["-f", "-"], &ruleset(plan)).map(drop)
}

/// Removes the table, if there is one. Blocks.
pub(super) fn remove(plan: &Plan) -> Result<(), FirewallError> {
    nft(&["-f", "-"], &removal(plan)).map(drop)
}

pub(super) fn is_there() -> bool {
    super::program("nft").is_some()
}

/// Removal that succeeds whether the table is there or not, for nft of before `destroy`.
fn removal(plan: &Plan) -> String {
    format!("table inet {0}\ndelete table inet {0}\n", plan.name)
}

/// The first chain hides pods behind the host's address. The second keeps the outside from addressing them, which
/// it could do now that the host passes traffic on.
fn ruleset(plan: &Plan) -> String {
    let Plan {
        name,
        network,
        bits,
        ..
    } = plan;
    let v6 = plan.v6_network();
    format!(
        "{removal}table inet {name} {{
  chain leaving {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {network}/{bits} oifname != \"{name}\" masquerade
    ip6 saddr {v6}/{V6_BITS} oifname != \"{name}\" masquerade
  }}
  chain shelter {{
    type filter hook forward priority filter; policy accept;
    iifname != \"{name}\" oifname \"{name}\" ct state != {{ established, related }} drop
  }}
}}
",
        removal = removal(plan)
    )
}

fn nft(args: &[&str], input: &str) -> Result<String, FirewallError> {
    let program = super::program("nft").ok_or(FirewallError::Missing)?;
    run(&program, args, input)
}

fn run(program: &Path, args: &[&str], input: &str) -> Result<String, FirewallError> {
    let attempt = || -> io::Result<_> {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take()
            && let Err(error) = stdin.write_all(input.as_bytes())
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            return Err(error);
        }
        child.wait_with_output()
    };
    let output = attempt().map_err(FirewallError::Start)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("nothing").trim().to_owned();
    Err(FirewallError::Refused(first))
}

/// Says, in words, what of others stands in the way of traffic out of pods: Docker, above all, drops whatever no
/// rule of its own accepts. A table that names our bridge has been taught about it. Blocks.
pub(super) fn in_the_way(plan: &Plan) -> Option<String> {
    let listed = nft(&["-j", "list", "chains"], "").ok()?;
    let chain = dropping_chains(&listed)
        .into_iter()
        .find(|chain| chain.table != plan.name && !knows(chain, plan));
    let legacy = || legacy_drops(plan).then(|| "iptables-legacy, chain FORWARD".to_owned());
    let chain = chain
        .map(|chain| {
            format!(
                "table {} {}, chain {}",
                chain.family, chain.table, chain.name
            )
        })
        .or_else(legacy)?;
    let each_other = if forwarding::bridged_is_filtered() {
        "each other or "
    } else {
        ""
    };
    Some(format!(
        "this host's firewall ({chain}) drops what it does not accept by name, so pods may not reach {each_other}the \
         outside; it is not changed here. If Docker made it: iptables -I DOCKER-USER -i {0} -j ACCEPT && iptables -I \
         DOCKER-USER -o {0} -j ACCEPT",
        plan.name
    ))
}

#[derive(Debug, Deserialize)]
struct Listing {
    nftables: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    chain: Option<Chain>,
}

#[derive(Debug, Deserialize)]
struct Chain {
    family: String,
    table: String,
    name: String,
    hook: Option<String>,
    policy: Option<String>,
}

fn dropping_chains(listed: &str) -> Vec<Chain> {
    let listing: Listing = match serde_json::from_str(listed) {
        Ok(listing) => listing,
        Err(error) => {
            tracing::debug!("did not understand nft's list of chains: {error}");
            return Vec::new();
        }
    };
    let chains = listing.nftables.into_iter().filter_map(|entry| entry.chain);
    chains
        .filter(|chain| {
            chain.hook.as_deref() == Some("forward")
                && chain.policy.as_deref() == Some("drop")
                && ["ip", "ip6", "inet"].contains(&chain.family.as_str())
        })
        .collect()
}

fn knows(chain: &Chain, plan: &Plan) -> bool {
    nft(&["list", "table", &chain.family, &chain.table], "")
        .is_ok_and(|rules| rules.contains(&plan.name))
}

/// Looks only where that table is in use, as looking would make it.
fn legacy_drops(plan: &Plan) -> bool {
    let used = std::fs::read_to_string("/proc/net/ip_tables_names").unwrap_or_default();
    if !used.lines().any(|table| table == "filter") {
        return false;
    }
    let Some(program) = super::program("iptables-legacy") else {
        return false;
    };
    run(&program, &["-S"], "")
        .is_ok_and(|rules| rules.contains("-P FORWARD DROP") && !rules.contains(&plan.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::NetworkOptions;

    #[test]
    fn rules_name_the_pods_networks_and_the_bridge() {
        let options = NetworkOptions {
            name: Some("probelet0".to_owned()),
            ..NetworkOptions::default()
        };
        let rules = ruleset(&Plan::new(&options, Path::new("/var/lib/probelet")));
        assert!(rules.starts_with("table inet probelet0\ndelete table inet probelet0\n"));
        assert!(rules.contains("ip saddr 10.213.0.0/16 oifname != \"probelet0\" masquerade"));
        assert!(rules.contains("ip6 saddr fd"));
    }

    #[test]
    fn a_chain_that_drops_what_is_passed_on_is_found() {
        let listed = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"chain": {"family": "ip", "table": "filter", "name": "INPUT", "handle": 1, "type": "filter",
             "hook": "input", "prio": 0, "policy": "drop"}},
            {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "handle": 2, "type": "filter",
             "hook": "forward", "prio": 0, "policy": "drop"}},
            {"chain": {"family": "ip", "table": "filter", "name": "DOCKER", "handle": 3}}]}"#;
        let found = dropping_chains(listed);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "FORWARD");
        assert!(dropping_chains("no json").is_empty());
    }
}

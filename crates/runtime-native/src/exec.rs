//! Attempts in the containers of one pod, as the agent has them made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use probelet_model::id::ContainerId;
use probelet_runtime::{ExecError, ExecOutput, ExecRequest};

use crate::attempt::Outcome;
use crate::client::Client;
use crate::exec_channel::{Asked, ExecChannel};
use crate::layout::KILLED;
use crate::protocol::{Answer, Call, Ending, unexpected};

/// How long an answer may be on its way that has been sent.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

/// The way to the commands of a pod's containers.
#[derive(Clone, Debug)]
pub(crate) struct Exec {
    client: Client,
    channels: Arc<Mutex<HashMap<ContainerId, Arc<ExecChannel>>>>,
    /// Held by whoever opens one: of a container, a new channel closes the one before.
    opening: Arc<tokio::sync::Mutex<()>>,
}

impl Exec {
    /// With no channel open yet.
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            channels: Arc::default(),
            opening: Arc::default(),
        }
    }

    /// [`probelet_runtime::Runtime::exec`].
    pub(crate) async fn run(
        &self,
        container: &ContainerId,
        request: ExecRequest,
    ) -> Result<ExecOutput, ExecError> {
        if !self.client.abilities().exec_channels {
            return self.run_by_shim(container, request).await;
        }
        let timeout = request.timeout;
        let asked = match self.open(container) {
            Some(channel) => channel.ask(request.clone()).await,
            None => None,
        };
        let asked = match asked {
            Some(asked) => Some(asked),
            None => self.new_channel(container).await?.ask(request).await,
        };
        let outcome = match asked {
            Some(asked) => self.outcome(container, timeout, asked).await?,
            None => None,
        };
        let lost = || {
            ExecError::Runtime("the process that starts the container's commands has ended".into())
        };
        let outcome = outcome.unwrap_or_else(|| Err(lost()));
        // What looks like a failure may be the end of the container.
        let is_suspect = match &outcome {
            Ok(output) => output.exit_code == KILLED,
            Err(error) => matches!(error, ExecError::Runtime(_)),
        };
        if is_suspect && !self.runs(container).await {
            return Err(ExecError::NotRunning(container.clone()));
        }
        outcome
    }

    /// `None` if the channel ends first.
    async fn outcome(
        &self,
        container: &ContainerId,
        timeout: Duration,
        asked: Asked,
    ) -> Result<Option<Outcome>, ExecError> {
        let Asked { id, mut outcome } = asked;
        if let Ok(answered) = tokio::time::timeout(timeout, &mut outcome).await {
            return Ok(answered.ok());
        }
        let container = container.clone();
        let end = self.client.ask(Call::EndAttempt { container, id });
        let ended = tokio::select! {
            biased;
            answered = &mut outcome => return Ok(answered.ok()),
            ended = end => ended,
        };
        match ended {
            Some((Answer::AttemptEnded(Ending::Answered), _)) => {
                let answered = tokio::time::timeout(ON_ITS_WAY, outcome).await;
                answered
                    .map(Result::ok)
                    .map_err(|_elapsed| ExecError::TimedOut)
            }
            _ => Err(ExecError::TimedOut),
        }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<ContainerId, Arc<ExecChannel>>> {
        // Nothing in it is left half-done by a panic.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, container: &ContainerId) -> Option<Arc<ExecChannel>> {
        let channels = self.channels();
        let channel = channels.get(container);
        channel.filter(|channel| !channel.is_closed()).cloned()
    }

    async fn new_channel(&self, container: &ContainerId) -> Result<Arc<ExecChannel>, ExecError> {
        let _opening = self.opening.lock().await;
        if let Some(channel) = self.open(container) {
            return Ok(channel);
        }
        let call = Call::ExecChannel {
            container: container.clone(),
        };
        let (number, socket) = match self.client.ask(call).await {
            Some((Answer::ExecChannel(answer), fds)) => (answer?, fds.into_iter().next()),
            Some((other, _)) => return Err(ExecError::Runtime(unexpected(&other))),
            None => return Err(ExecError::NotRunning(container.clone())),
        };
        let socket = socket
            .ok_or_else(|| ExecError::Runtime("the shim sent too few descriptors".to_owned()))?;
        let channel = ExecChannel::new(socket, number)
            .map_err(|error| ExecError::Runtime(format!("watch an exec channel: {error}")))?;
        let channel = Arc::new(channel);
        let mut channels = self.channels();
        // Those of containers that have ended.
        channels.retain(|_, channel| !channel.is_closed());
        channels.insert(container.clone(), Arc::clone(&channel));
        Ok(channel)
    }

    async fn runs(&self, container: &ContainerId) -> bool {
        let call = Call::Runs {
            container: container.clone(),
        };
        matches!(self.client.ask(call).await, Some((Answer::Runs(true), _)))
    }

    /// As a shim without exec channels has it.
    async fn run_by_shim(
        &self,
        container: &ContainerId,
        request: ExecRequest,
    ) -> Result<ExecOutput, ExecError> {
        let call = Call::Exec {
            container: container.clone(),
            request,
        };
        match self.client.ask(call).await {
            Some((Answer::Executed(output), _)) => output,
            Some((other, _)) => Err(ExecError::Runtime(unexpected(&other))),
            None => Err(ExecError::NotRunning(container.clone())),
        }
    }
}

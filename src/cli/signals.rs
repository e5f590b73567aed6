//! What the system tells a process that serves: to stop, or to read its certificates again.

use std::io;

use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

/// What a signal asks for.
pub(super) enum Signal {
    /// A clean stop, with the signal's name.
    Stop(&'static str),
    /// To read the certificates again.
    Reload,
}

/// The signals that are listened to; from its making on, none of them ends the process.
pub(super) struct Signals {
    hang_up: Listener,
    interrupt: Listener,
    terminate: Listener,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let hang_up = signal(SignalKind::hangup())?;
        Ok(Self { hang_up, interrupt, terminate })
    }

    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hang_up.recv() => Signal::Reload,
            _ = self.interrupt.recv() => Signal::Stop("SIGINT"),
            _ = self.terminate.recv() => Signal::Stop("SIGTERM"),
        }
    }

    /// Waits for a signal to stop; its name.
    pub(super) async fn stop(&mut self) -> &'static str {
        loop {
            if let Signal::Stop(name) = self.next().await {
                return name;
            }
        }
    }
}

//! Signal handlers.

use super::failure::Failure;
use super::reload::ReloadSignal;
use super::systemd;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::sync::mpsc::Sender;
use std::{io, process, thread};

/// Turns SIGXFSZ, which ends a program by default, into the error of the write that met the limit on file sizes. The
/// standard library does the same for SIGPIPE.
pub fn catch_file_size_signal() -> Result<(), Failure> {
    let register = signal_hook::flag::register(SIGXFSZ, Default::default());
    register.map(drop).map_err(|error| signal_failure(&error))
}

/// Calls `stop` on the first SIGTERM or SIGINT and ends the process on the second. Sends SIGHUP to `reload`.
pub fn install_signal_handlers(stop: Box<dyn Fn() + Send>, reload: Sender<ReloadSignal>) -> Result<(), Failure> {
    let start = || -> io::Result<_> {
        let signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        thread::Builder::new().name("signals".into()).spawn(move || handle_signals(signals, &*stop, &reload))
    };
    start().map(drop).map_err(|error| signal_failure(&error))
}

fn signal_failure(error: &io::Error) -> Failure {
    Failure::Runtime(format!("cannot handle signals: {error}"))
}

fn handle_signals(mut signals: Signals, stop: &dyn Fn(), reload: &Sender<ReloadSignal>) {
    let mut is_stopping = false;
    for signal in signals.forever() {
        if signal == SIGHUP {
            // A closed channel means that the server has ended.
            let _ = reload.send(ReloadSignal::Requested);
            continue;
        }
        if is_stopping {
            // The exit code that a shell reports for a program killed by this signal.
            process::exit(128 + signal);
        }
        is_stopping = true;
        // Neither of these waits: the log queues the line, and the notification is lost if systemd does not receive it.
        systemd::notify("STOPPING=1");
        log::info!("stopping; a second signal ends calls in flight");
        stop();
    }
}

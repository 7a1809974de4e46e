//! The whole daemon on a scripted kernel of each dialect, through the relay's socket.

use std::fs;

use std::path::PathBuf;

use pfkey::Dialect;

use super::daemon::{Daemon, eventually};
use super::relay;

/// A scripted kernel behind a relay.
struct Kernel {
    name: &'static str,
    path: PathBuf,
}

impl Kernel {
    fn start(dialect: &'static Dialect, story: &str) -> Self {
        let name = dialect.name;
        let path = format!("oakd-{story}-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(path);
        let socket = path.clone();
        std::thread::spawn(move || relay::serve(&socket, Some(dialect)));
        eventually(|| path.exists().then_some(())).expect("a scripted kernel");
        Self { name, path }
    }

    /// What `-K` is given.
    fn at(&self) -> String {
        format!("{}:{}", self.name, self.path.display())
    }

    /// What it holds, in words.
    fn told(&self) -> String {
        fs::read_to_string(self.path.with_extension("held")).unwrap_or_default()
    }

    /// It comes to hold this.
    fn holds(&self, what: &str, daemon: &Daemon) {
        let holds = eventually(|| (self.told() == what).then_some(()));
        assert!(holds.is_some(), "{}: {}\n{}", self.name, self.told(), daemon.log());
    }

    /// What it holds for one rule: forwarded packets have a policy of their own on Linux.
    fn one_rule(&self) -> &'static str {
        if self.name == "linux" { "3 flows\n" } else { "2 flows\n" }
    }

    /// The daemon ends, and leaves it empty.
    fn end(&self, mut daemon: Daemon) {
        daemon.signal("TERM");
        assert!(daemon.wait().1, "{}: {}", self.name, daemon.log());
        self.holds("0 flows\n", &daemon);
        let _ = (fs::remove_file(&self.path), fs::remove_file(self.path.with_extension("held")));
    }
}

/// A rule whose peer does not answer.
fn rule(start: &str) -> String {
    format!(
        "ikev2 \"home\" {start} esp from 10.0.1.0/24 to 10.0.2.0/24 \
         local 127.0.0.1 peer 127.0.0.2 psk \"not much of a secret\"\n"
    )
}

#[test]
fn the_daemon_starts_on_each_kernel_and_leaves_it_empty() {
    for dialect in Dialect::all() {
        let kernel = Kernel::start(dialect, "kernel");
        let (name, at) = (kernel.name, kernel.at());
        let Some(daemon) = Daemon::start_with(&rule("ondemand"), &["-K", &at]) else { return };
        kernel.holds(kernel.one_rule(), &daemon);
        // An engine that dies comes back to the same kernel.
        super::daemon::kill(daemon.child("ike"), "KILL");
        daemon.says("ike process");
        let back = eventually(|| daemon.oakctl(&["show"]).status.success().then_some(()));
        assert!(back.is_some(), "{name}: {}", daemon.log());
        kernel.end(daemon);
    }
}

#[test]
fn what_a_crash_left_is_known_to_the_next_daemon_on_each_kernel() {
    for dialect in Dialect::all() {
        let kernel = Kernel::start(dialect, "crash");
        let (name, at) = (kernel.name, kernel.at());
        let Some(mut daemon) = Daemon::start_with(&rule("ondemand"), &["-K", &at]) else { return };
        kernel.holds(kernel.one_rule(), &daemon);
        // Where nothing in the kernel tells them as ours, the parent writes them down, a moment later.
        let written = daemon.directory.join("state/kernel");
        let lines = || fs::read_to_string(&written).unwrap_or_default().lines().count();
        let known = eventually(|| (dialect.behaviour.reqids || lines() == 2).then_some(()));
        assert!(known.is_some(), "{name}: {} lines\n{}", lines(), daemon.log());
        // The next one has no use for flows, but knows that these are its own to take down.
        daemon.crash(&rule("passive"), &["-K", &at]);
        assert_eq!(kernel.told(), kernel.one_rule(), "{name}: they wait for a successor");
        kernel.end(daemon);
    }
}

#[test]
fn what_is_no_kernel_is_told() {
    for (at, why) in [
        ("plan9:/tmp/x", "a dialect of openbsd"),
        ("linux", "the path of a relay"),
        ("linux:/nowhere/at/all", "does a relay to a kernel listen there?"),
    ] {
        let said = Daemon::refused(&["-K", at]);
        let Some(said) = said else { return };
        assert!(said.contains(why), "{at}: {said}");
    }
}

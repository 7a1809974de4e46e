//! The whole daemon on a scripted kernel of each dialect, through the relay's socket.

use std::fs;

use super::daemon::{Daemon, eventually};
use super::relay;

#[test]
fn the_daemon_starts_on_each_kernel_and_leaves_it_empty() {
    for dialect in pfkey::Dialect::all() {
        let name = dialect.name;
        let path = std::env::temp_dir().join(format!("oakd-kernel-{name}-{}", std::process::id()));
        let socket = path.clone();
        std::thread::spawn(move || relay::serve(&socket, Some(dialect)));
        eventually(|| path.exists().then_some(())).expect("a scripted kernel");
        let at = format!("{name}:{}", path.display());
        let text = "ikev2 \"home\" ondemand esp from 10.0.1.0/24 to 10.0.2.0/24 \
                    local 127.0.0.1 peer 127.0.0.2 psk \"not much of a secret\"\n";
        let Some(mut daemon) = Daemon::start_with(text, &["-K", &at]) else { return };
        let held = path.with_extension("held");
        let told = || fs::read_to_string(&held).unwrap_or_default();
        // Forwarded packets have a policy of their own on Linux.
        let flows = if name == "linux" { "3 flows\n" } else { "2 flows\n" };
        let up = eventually(|| (told() == flows).then_some(()));
        assert!(up.is_some(), "{name}: {}\n{}", told(), daemon.log());
        // An engine that dies comes back to the same kernel.
        super::daemon::kill(daemon.child("ike"), "KILL");
        daemon.says("ike process");
        let back = eventually(|| daemon.oakctl(&["show"]).status.success().then_some(()));
        assert!(back.is_some(), "{name}: {}", daemon.log());
        daemon.signal("TERM");
        assert!(daemon.wait().1, "{name}: {}", daemon.log());
        let empty = eventually(|| (told() == "0 flows\n").then_some(()));
        assert!(empty.is_some(), "{name}: {}\n{}", told(), daemon.log());
        let _ = (fs::remove_file(&path), fs::remove_file(&held));
    }
}

#[test]
fn what_a_crash_left_is_known_to_the_next_daemon_on_each_kernel() {
    for dialect in pfkey::Dialect::all() {
        let name = dialect.name;
        let path = std::env::temp_dir().join(format!("oakd-crash-{name}-{}", std::process::id()));
        let socket = path.clone();
        std::thread::spawn(move || relay::serve(&socket, Some(dialect)));
        eventually(|| path.exists().then_some(())).expect("a scripted kernel");
        let at = format!("{name}:{}", path.display());
        let rule = |word: &str| {
            format!(
                "ikev2 \"home\" {word} esp from 10.0.1.0/24 to 10.0.2.0/24 \
                 local 127.0.0.1 peer 127.0.0.2 psk \"not much of a secret\"\n"
            )
        };
        let Some(mut daemon) = Daemon::start_with(&rule("ondemand"), &["-K", &at]) else { return };
        let held = path.with_extension("held");
        let told = || fs::read_to_string(&held).unwrap_or_default();
        let flows = if name == "linux" { "3 flows\n" } else { "2 flows\n" };
        let up = eventually(|| (told() == flows).then_some(()));
        assert!(up.is_some(), "{name}: {}\n{}", told(), daemon.log());
        // Where nothing in the kernel tells them as ours, the parent writes them down, a moment later.
        let written = daemon.directory.join("state/kernel");
        let lines = || fs::read_to_string(&written).unwrap_or_default().lines().count();
        let known = eventually(|| (dialect.behaviour.reqids || lines() == 2).then_some(()));
        assert!(known.is_some(), "{name}: {} lines\n{}", lines(), daemon.log());
        // The next one has no use for flows, but knows that these are its own to take down.
        daemon.crash(&rule("passive"), &["-K", &at]);
        assert_eq!(told(), flows, "{name}: they wait for a successor");
        daemon.signal("TERM");
        assert!(daemon.wait().1, "{name}: {}", daemon.log());
        let empty = eventually(|| (told() == "0 flows\n").then_some(()));
        assert!(empty.is_some(), "{name}: {}\n{}", told(), daemon.log());
        let _ = (fs::remove_file(&path), fs::remove_file(&held));
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

//! Start, restart, reload, end.

use std::net::UdpSocket;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use oakd::proc::Role;

use super::daemon::{Daemon, PSK, eventually, good, kill, root, status};

#[test]
fn children_are_an_ordinary_user_in_an_empty_directory() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    let children = daemon.children();
    assert_eq!(children.keys().collect::<Vec<_>>(), ["ca", "control", "ike"]);
    for (role, pid) in children {
        let uids = status(pid, "Uid:");
        assert_eq!(uids.len(), 4, "{role}");
        assert!(uids.iter().all(|uid| *uid != 0), "{role} runs as {uids:?}");
        assert!(status(pid, "Gid:").iter().all(|gid| *gid != 0), "{role}");
        assert!(!status(pid, "Groups:").contains(&0), "{role}");
        assert_eq!(root(pid), daemon.path("empty"), "{role}");
        // No new privileges, and a filter of system calls (2).
        assert_eq!(status(pid, "NoNewPrivs:"), [1], "{role}");
        assert_eq!(status(pid, "Seccomp:"), [2], "{role}");
    }
}

#[test]
fn readers_are_collected() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    for reload in [false, true] {
        if reload {
            assert!(daemon.oakctl(&["reload"]).status.success(), "{}", daemon.log());
        }
        let few =
            eventually(|| (daemon.offspring().len() == daemon.children().len()).then_some(()));
        assert!(few.is_some(), "after a reload ({reload}): {:?}", daemon.offspring());
    }
}

#[test]
fn every_child_comes_back_and_works() {
    for relay in [false, true] {
        let Some(daemon) = Daemon::start(if relay { &["-R"] } else { &[] }) else { return };
        let roles: Vec<String> = daemon.children().into_keys().collect();
        assert_eq!(roles.len(), if relay { 4 } else { 3 });
        for role in roles {
            let old = daemon.child(&role);
            kill(old, "KILL");
            let new =
                eventually(|| daemon.children().get(&role).copied().filter(|new| *new != old));
            assert!(new.is_some(), "{role} did not come back: {}", daemon.log());
            let works = eventually(|| {
                let output = daemon.oakctl(&["show", "stats"]);
                output.status.success().then_some(())
            });
            assert!(works.is_some(), "no answer without the old {role}: {}", daemon.log());
        }
        daemon.says("ike process ended (signal: 9 (SIGKILL)");
        daemon.says("ike process started again");
    }
}

/// Not a case by itself: what the next one runs in a process of its own.
#[test]
fn probe() {
    let Ok(what) = std::env::var("OAKD_PRIVSEP_PROBE") else { return };
    oakd::proc::sandbox::enter(Role::Control).unwrap();
    let refused = std::fs::File::open("/etc/passwd").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    if what == "socket" {
        let _ = std::os::unix::net::UnixDatagram::unbound();
    }
}

#[test]
fn a_process_that_leaves_its_sandbox_is_killed() {
    if !cfg!(target_os = "linux") {
        eprintln!("skipped: other systems have other sandboxes");
        return;
    }
    let run = |what| {
        let own = std::env::current_exe().unwrap();
        let mut command = Command::new(own);
        command.args(["life::probe", "--exact"]).env("OAKD_PRIVSEP_PROBE", what);
        command.output().unwrap().status
    };
    assert!(run("nothing").success());
    assert_eq!(run("socket").signal(), Some(libc::SIGSYS));
}

#[test]
fn a_wrong_file_changes_nothing() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    let before = daemon.children();
    let wrong = good().replace("peer 127", "pear 127");
    daemon.configure(&wrong);
    daemon.signal("HUP");
    daemon.says("the configuration is not loaded");
    daemon.says("oakd.conf:2:");
    let refused = daemon.oakctl(&["reload"]);
    assert!(!refused.status.success());
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("oakd.conf:2:"), "{words}");
    assert!(!daemon.log().contains(PSK), "the line with the key was logged");
    daemon.configure(&good());
    let loaded = daemon.oakctl(&["reload"]);
    assert!(loaded.status.success());
    // Who reads for the parent goes away by itself.
    eventually(|| (daemon.children() == before).then_some(())).expect("the same processes");
}

#[test]
fn it_ends_when_told_to() {
    for signal in ["TERM", "INT"] {
        let Some(mut daemon) = Daemon::start(&[]) else { return };
        let children = daemon.children();
        daemon.signal(signal);
        let (took, clean) = daemon.wait();
        assert!(clean, "{}", daemon.log());
        assert!(took < Duration::from_secs(4), "took {took:?}: {}", daemon.log());
        for (role, pid) in children {
            assert!(status(pid, "Uid:").is_empty(), "{role} is still there");
        }
        assert!(!daemon.path("sock").exists());
        assert!(daemon.log().contains("ended"));
    }
}

#[test]
fn a_second_daemon_is_refused() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    let second = Command::new(env!("CARGO_BIN_EXE_oakd"))
        .args(["-d", "-u", "nobody", "-i", "1", "-p", "2", "-f"])
        .arg(daemon.path("oakd.conf"))
        .arg("-c")
        .arg(daemon.path("empty"))
        .arg("-s")
        .arg(daemon.path("sock"))
        .output()
        .unwrap();
    assert!(!second.status.success());
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(words.contains("another oakd answers there"), "{words}");
    assert!(daemon.oakctl(&["show"]).status.success());
}

#[test]
fn an_unknown_user_is_named() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    let second = Command::new(env!("CARGO_BIN_EXE_oakd"))
        .args(["-d", "-u", "no-such-user-here", "-f"])
        .arg(daemon.path("oakd.conf"))
        .output()
        .unwrap();
    assert!(!second.status.success());
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(words.contains("there is no user no-such-user-here"), "{words}");
}

#[test]
fn datagrams_reach_the_engine() {
    for extra in [&[][..], &["-R"]] {
        let Some(daemon) = Daemon::start(extra) else { return };
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let taken = eventually(|| {
            socket.send_to(b"no message of IKE", ("127.0.0.1", daemon.port)).unwrap();
            let shown = daemon.oakctl(&["-j", "show", "stats"]);
            let stats: serde_json::Value = serde_json::from_slice(&shown.stdout).ok()?;
            (stats["datagrams_in"].as_u64()? > 0).then_some(())
        });
        assert!(taken.is_some(), "{extra:?}: {}", daemon.log());
    }
}

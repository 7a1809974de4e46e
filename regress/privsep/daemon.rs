//! A daemon in a directory of its own, and oakctl to talk to it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The key that must be found in `ca` alone.
pub const PSK: &str = "Chartreuse-Xylophone-7291";

/// A running daemon; killed with its children when the case ends.
pub struct Daemon {
    pub directory: PathBuf,
    /// Where it takes IKE.
    pub port: u16,
    process: Child,
    pid: u32,
}

/// Whether the cases can run here; says why not.
fn able() -> bool {
    if !cfg!(target_os = "linux") {
        eprintln!("skipped: these cases look into Linux's /proc");
        return false;
    }
    if fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m)).ok() != Some(0) {
        eprintln!("skipped: only root can start the daemon");
        return false;
    }
    true
}

/// A configuration with one policy that waits for the peer.
pub fn good() -> String {
    format!(
        "set decouple\nikev2 \"home\" passive esp from 10.0.1.0/24 to 10.0.2.0/24 \
         local 127.0.0.1 peer 127.0.0.2 psk \"{PSK}\"\n"
    )
}

/// Waits until something holds; `None` if it does not within some seconds.
pub fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

/// Writes a configuration, readable by root alone.
fn configure(directory: &Path, text: &str) {
    let path = directory.join("oakd.conf");
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn free_ports() -> (u16, u16) {
    let port = || UdpSocket::bind("0.0.0.0:0").unwrap();
    let (a, b) = (port(), port());
    (a.local_addr().unwrap().port(), b.local_addr().unwrap().port())
}

/// Starts one in this directory; and the port where it takes IKE.
fn spawn(directory: &Path, extra: &[&str]) -> (Child, u16) {
    let log = fs::File::create(directory.join("log")).unwrap();
    let (ike, words) = words(directory);
    let mut command = Command::new(env!("CARGO_BIN_EXE_oakd"));
    let command = command.args(words).args(extra).stdin(Stdio::null()).stderr(log);
    (command.spawn().unwrap(), ike)
}

impl Daemon {
    /// Starts it; `None` where it cannot be.
    pub fn start(extra: &[&str]) -> Option<Self> {
        Self::start_with(&good(), extra)
    }

    /// Starts it with this configuration.
    pub fn start_with(text: &str, extra: &[&str]) -> Option<Self> {
        if !able() {
            return None;
        }
        let directory = fresh(text);
        let (process, port) = spawn(&directory, extra);
        let mut daemon = Self { pid: process.id(), process, directory, port };
        daemon.wait_until_up();
        Some(daemon)
    }

    /// Kills it in one blow, children and all, and starts another in its place.
    pub fn crash(&mut self, text: &str, extra: &[&str]) {
        let children: Vec<u32> = self.children().into_values().collect();
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        children.iter().for_each(|child| kill(*child, "KILL"));
        let there = |child: &u32| Path::new(&format!("/proc/{child}/exe")).exists();
        eventually(|| (!children.iter().any(there)).then_some(())).expect("they die");
        self.configure(text);
        (self.process, self.port) = spawn(&self.directory, extra);
        self.pid = self.process.id();
        self.wait_until_up();
    }

    /// Starts it on a terminal of its own, with these files in its directory, and types these lines as
    /// they are asked for; what the terminal showed comes along.
    pub fn start_on_terminal(
        text: &str,
        files: &[(&str, &[u8])],
        lines: &[&str],
    ) -> Option<(Self, String)> {
        if !able() {
            return None;
        }
        let directory = fresh(text);
        for (name, octets) in files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, octets).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let (port, words) = words(&directory);
        let log = directory.join("log");
        let command =
            format!("exec {} {} 2>{}", env!("CARGO_BIN_EXE_oakd"), words.join(" "), log.display());
        let mut process = Command::new("script")
            .args(["-q", "-e", "-f", "-c", &command, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut keyboard, mut screen) =
            (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut shown = String::new();
        for line in lines {
            let from = shown.len();
            while !shown[from..].ends_with(": ") {
                let mut octets = [0; 256];
                let count = screen.read(&mut octets).unwrap();
                assert!(
                    count > 0,
                    "ended: {shown} {}",
                    fs::read_to_string(&log).unwrap_or_default()
                );
                shown.push_str(&String::from_utf8_lossy(&octets[..count]));
            }
            keyboard.write_all(format!("{line}\n").as_bytes()).unwrap();
        }
        let script = process.id();
        let pid = eventually(|| children_of(script).pop()).expect("oakd is not there");
        let mut daemon = Self { pid, process, directory, port };
        daemon.wait_until_up();
        Some((daemon, shown))
    }

    fn wait_until_up(&mut self) {
        let up = eventually(|| {
            assert!(self.process.try_wait().unwrap().is_none(), "ended: {}", self.log());
            self.oakctl(&["show", "stats"]).status.success().then_some(())
        });
        assert!(up.is_some(), "not up: {}", self.log());
    }

    /// What it says when it does not start with these arguments.
    pub fn refused(extra: &[&str]) -> Option<String> {
        if !able() {
            return None;
        }
        let directory = std::env::temp_dir().join(format!("oakd-refused-{}", std::process::id()));
        fs::create_dir_all(directory.join("empty")).unwrap();
        configure(&directory, &good().replace("set decouple", ""));
        let (ike, natt) = free_ports();
        let output = Command::new(env!("CARGO_BIN_EXE_oakd"))
            .args(["-d", "-u", "nobody", "-i", &ike.to_string(), "-p", &natt.to_string()])
            .arg("-f")
            .arg(directory.join("oakd.conf"))
            .arg("-s")
            .arg(directory.join("sock"))
            .arg("-c")
            .arg(directory.join("empty"))
            .args(extra)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!output.status.success());
        let _ = fs::remove_dir_all(&directory);
        Some(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes another configuration.
    pub fn configure(&self, text: &str) {
        configure(&self.directory, text);
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits for a line of the log that holds this.
    pub fn says(&self, text: &str) {
        let said = eventually(|| self.log().contains(text).then_some(()));
        assert!(said.is_some(), "never said {text:?}: {}", self.log());
    }

    pub fn oakctl(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oakctl"));
        command.arg("-S").arg(self.path("sock")).args(words).stdin(Stdio::null());
        command.output().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The children by role.
    pub fn children(&self) -> BTreeMap<String, u32> {
        let mut found = BTreeMap::new();
        for pid in self.offspring() {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<String> = arguments
                .split(|octet| *octet == 0)
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect();
            // The reader lives for a moment only.
            let role = words.iter().position(|word| word == "-P").map(|at| words[at + 1].clone());
            if let Some(role) = role.filter(|role| role != "reader") {
                found.insert(role, pid);
            }
        }
        found
    }

    /// All child processes, also the dead that nobody has collected.
    pub fn offspring(&self) -> Vec<u32> {
        children_of(self.pid())
    }

    pub fn child(&self, role: &str) -> u32 {
        *self.children().get(role).unwrap_or_else(|| panic!("no {role}: {}", self.log()))
    }

    pub fn signal(&self, signal: &str) {
        kill(self.pid(), signal);
    }

    /// Waits for the end; how long it took, and whether it was a clean one.
    pub fn wait(&mut self) -> (Duration, bool) {
        let start = Instant::now();
        let status = eventually(|| self.process.try_wait().unwrap());
        (start.elapsed(), status.is_some_and(|status| status.success()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        for pid in self.children().into_values() {
            kill(pid, "KILL");
        }
        let _ = self.process.kill();
        if self.pid != self.process.id() && Path::new(&format!("/proc/{}", self.pid)).exists() {
            kill(self.pid, "KILL");
        }
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A directory with this configuration.
fn fresh(text: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("oakd-privsep-{}-{number}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    fs::create_dir_all(directory.join("empty")).unwrap();
    configure(&directory, text);
    directory
}

/// The port that it takes IKE on, and its arguments.
fn words(directory: &Path) -> (u16, Vec<String>) {
    let (ike, natt) = free_ports();
    let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
    let mut words: Vec<String> = ["-d", "-v", "-u", "nobody"].map(Into::into).into();
    words.extend(["-i".into(), ike.to_string(), "-p".into(), natt.to_string()]);
    for (option, name) in
        [("-f", "oakd.conf"), ("-k", "keys"), ("-l", "state"), ("-s", "sock"), ("-c", "empty")]
    {
        words.extend([option.into(), path(name)]);
    }
    (ike, words)
}

fn children_of(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    pids.filter(|pid| status(*pid, "PPid:").first() == Some(&parent)).collect()
}

pub fn kill(pid: u32, signal: &str) {
    let done = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap();
    assert!(done.success());
}

/// The numbers of a line of /proc/PID/status.
pub fn status(pid: u32, name: &str) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Where a process's root directory is.
pub fn root(pid: u32) -> PathBuf {
    fs::read_link(Path::new("/proc").join(pid.to_string()).join("root")).unwrap()
}

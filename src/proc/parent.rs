//! The process that stays root: it opens what others may not, starts them, and starts them again.

mod addresses;
mod children;
mod host;
mod journal;
mod leases;
mod open;
mod reading;
mod record;
mod resolver;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Child as Process;
use std::time::{Duration, Instant};

use mio::Token;

use super::child::batch;
use super::imsg;
use super::message::{Down, Up};
use super::options::Options;
use super::poll::Loop;
use super::{Role, sandbox};
use crate::conf::{self, Config, PolicyName};
use crate::log::Log;
use crate::net::Spec;
use crate::sys;
use addresses::Addresses;
use children::{Running, Slot};
use host::Host;
use leases::Leases;
use reading::{Purpose, Reading};
use record::Record;

/// How long the engine may take to say goodbye and clear the kernel.
const FAREWELL: Duration = Duration::from_secs(6);
/// How long a child may take to end when its link is closed.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long until host names without an address are looked up again.
const NAMES_AGAIN: Duration = Duration::from_secs(60);

const SIGNALS: Token = Token(0);
const ADDRESSES: Token = Token(64);

/// The parent.
struct Parent {
    options: Options,
    program: PathBuf,
    log: Log,
    events: Loop,
    signals: UnixStream,
    slots: BTreeMap<Role, Slot>,
    udp: Vec<(Spec, OwnedFd)>,
    rdomain: u16,
    kernel: Option<OwnedFd>,
    listener: UnixListener,
    /// What is set on this host, and who has which address.
    host: Host,
    leases: Leases,
    /// What is ours in the kernel and does not tell so.
    record: Record,
    /// The configuration in force; its secrets are in `ca` alone.
    config: Config,
    /// The rules that wait for host names.
    unresolved: Vec<PolicyName>,
    /// What the secrets in force are, salted: another print is other secrets.
    print: [u8; 32],
    salt: [u8; 32],
    /// The ways on which the secrets come to those `ca` that are started first.
    ways: Vec<OwnedFd>,
    /// The reader at work, those that finish, and what else is to be read.
    reading: Option<Reading>,
    readers: Vec<Process>,
    to_read: VecDeque<Purpose>,
    /// The last pause, and when secrets are looked for again.
    again: Duration,
    again_at: Option<Instant>,
    /// `ike` gets the configuration when `ca` has the secrets.
    config_due: bool,
    ending: Option<Instant>,
    /// When host names without an address are looked up again.
    names_due: Option<Instant>,
    addresses: Addresses,
}

/// Runs the daemon until it is told to end.
///
/// # Errors
///
/// What keeps it from starting, as a sentence.
pub fn run(options: Options) -> Result<(), String> {
    if !sys::is_root() {
        return Err(
            "must be started by root: it opens PF_KEY and ports below 1024, and then runs \
                    its parts as an ordinary user"
                .into(),
        );
    }
    let mut log = Log::stderr(options.detail);
    open::check_user(&options)?;
    let program = std::env::current_exe().map_err(|e| said("finding my own program", &e))?;
    let mut salt = [0; 32];
    openssl::rand::rand_bytes(&mut salt).map_err(|e| said("randomness", &e))?;
    let (first, mut draft, ways) = reading::first(&program, &options, salt)?;
    let decoupled = draft.config.globals.decouple;
    let kernel = match decoupled {
        true => None,
        false => Some(open::kernel(&options.kernel)?),
    };
    let udp = open::udp(&options, decoupled, &mut log)?;
    let rdomain = udp.first().and_then(|(_, fd)| sys::rdomain(fd.as_fd()));
    let listener = open::listener(&options.socket)?;
    if !options.foreground {
        go_to_background()?;
        log = Log::syslog(options.detail);
    }
    sys::set_title(Role::Parent.name());
    let (signals, mut events) = listen_to_signals()?;
    let addresses = Addresses::watch(&mut events, &mut log);
    let (host, leases, record) = open::state(&options, &mut log);
    sandbox::veil(&program, &options.socket, &options.state).map_err(|e| said("unveil", &e))?;
    sandbox::enter(Role::Parent).map_err(|e| said("sandbox", &e))?;
    let names_due = names_due(&draft.unresolved);
    let mut parent = Parent {
        program,
        log,
        events,
        signals,
        slots: BTreeMap::new(),
        udp,
        rdomain: rdomain.unwrap_or_default(),
        kernel,
        listener,
        host,
        leases,
        record,
        config: std::mem::take(&mut draft.config),
        unresolved: std::mem::take(&mut draft.unresolved),
        print: draft.print,
        salt,
        ways,
        reading: None,
        readers: vec![first],
        to_read: VecDeque::new(),
        again: Duration::ZERO,
        again_at: None,
        config_due: true,
        ending: None,
        names_due,
        addresses,
        options,
    };
    parent.remark(&draft);
    drop(draft);
    let outcome = parent.supervise().map_err(|e| said("parent", &e));
    parent.end();
    outcome
}

fn said(what: &str, error: &dyn std::fmt::Display) -> String {
    format!("{what}: {error}")
}

fn go_to_background() -> Result<(), String> {
    nix::unistd::daemon(true, false).map_err(|e| said("going to the background", &e))?;
    std::env::set_current_dir("/").map_err(|e| said("/", &e))
}

/// A loop that wakes when a signal comes.
fn listen_to_signals() -> Result<(UnixStream, Loop), String> {
    let caught = [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGCHLD];
    let signals = sys::catch_signals(&caught).map_err(|e| said("signals", &e))?;
    let mut events = Loop::new().map_err(|e| said("event loop", &e))?;
    events.watch(&signals, SIGNALS).map_err(|e| said("event loop", &e))?;
    Ok((signals, events))
}

impl Parent {
    fn supervise(&mut self) -> io::Result<()> {
        // One that ended before its signal was caught told nobody.
        self.collect_readers();
        let relay = self.relayed().then_some(Role::Relay);
        let workers = (0..self.config.globals.ca_workers).map(Role::Ca);
        let children: Vec<Role> = workers.chain([Role::Ike, Role::Control]).chain(relay).collect();
        for role in children {
            self.slots.insert(role, Slot::default());
            self.start(role)?;
        }
        self.log.info(format!("running, {}", conf::policies(self.config.policies.len())));
        loop {
            for token in self.events.turn(self.deadline())? {
                match token {
                    SIGNALS => self.signalled()?,
                    ADDRESSES => self.addresses.ready(&mut self.events),
                    Token(number) => self.child_ready(number)?,
                }
            }
            if self.ending.is_some_and(|until| Instant::now() >= until) {
                self.log.error(
                    "the ike process did not finish in time: SAs and flows may be left in the \
                     kernel; the next start removes them",
                );
                return Ok(());
            }
            if self.ending.is_some() && !self.is_running(Role::Ike) {
                return Ok(());
            }
            self.start_due()?;
            self.host.expire(&mut self.log);
            self.reader_overdue();
            self.look_up_names();
            self.tell_addresses();
        }
    }

    fn relayed(&self) -> bool {
        self.options.relay || sandbox::NEEDS_RELAY
    }

    fn is_running(&self, role: Role) -> bool {
        self.slots.get(&role).is_some_and(|slot| slot.running.is_some())
    }

    fn deadline(&self) -> Option<Instant> {
        let starts = self.slots.values().filter_map(|slot| slot.start_at);
        let reading = self.reading.as_ref().map(|reading| reading.until);
        let due = [self.addresses.due, self.host.deadline()];
        let others = [self.ending, self.names_due, self.again_at, reading].into_iter().chain(due);
        starts.chain(others.flatten()).min()
    }

    // ---- messages ----

    fn child_ready(&mut self, number: usize) -> io::Result<()> {
        if Token(number) == token(Role::Reader) {
            self.reader_ready();
            return Ok(());
        }
        let role = self.slots.keys().copied().find(|role| token(*role) == Token(number));
        if let Some(role) = role {
            self.listen_to(role);
        }
        Ok(())
    }

    fn listen_to(&mut self, role: Role) {
        let Some(slot) = self.slots.get_mut(&role) else { return };
        let Some(running) = &mut slot.running else { return };
        let (messages, end) = batch(&mut running.link, &mut self.events, token(role));
        for (message, descriptor) in messages {
            if descriptor.is_some() {
                self.kill(role, "it sent a descriptor");
            }
            self.up(role, message);
        }
        match end {
            Ok(()) | Err(imsg::Error::Closed) => (),
            Err(error) => self.kill(role, &error.to_string()),
        }
    }

    /// Who may say what.
    fn up(&mut self, role: Role, message: Up) {
        match (role, message) {
            (_, Up::Log(line)) => self.log.write(role.name(), line),
            (Role::Ca(_), Up::SecretsHeld) => {
                if let Some(slot) = self.slots.get_mut(&role) {
                    slot.holds_secrets = true;
                }
                self.send_config();
            }
            (Role::Ca(_), Up::SecretsFailed(why)) => {
                self.log.error(format!("{role} did not get the secrets: {why}"));
                self.again_at = Some(Instant::now() + Duration::from_secs(2));
            }
            (Role::Control, Up::Reload(client)) => {
                self.read(Purpose::Reload(Some(client)));
            }
            (Role::Control, Up::Detail(detail)) => {
                self.log.set_detail(detail);
                let roles: Vec<Role> = self.slots.keys().copied().collect();
                roles.into_iter().for_each(|role| self.tell(role, Down::Detail(detail)));
                self.log.notice(format!("the log is {detail} now"));
            }
            (Role::Ike, Up::Host(change)) => {
                self.host.change(change, &self.config, &mut self.log);
            }
            (Role::Ike, Up::Lease(lease)) => {
                if let Err(error) = self.leases.keep(lease) {
                    self.log.error(format!("who has which address is not kept: {error}"));
                }
            }
            (Role::Ike, Up::Kept(note)) => {
                if let Err(error) = self.record.note(note) {
                    self.log.error(format!("what is ours in the kernel is not kept: {error}"));
                }
            }
            (Role::Ike, Up::Finished) if self.ending.is_some() => {
                self.log.debug("everything is taken down");
                self.ending = Some(Instant::now() + PATIENCE);
                self.close(Role::Ike);
            }
            (_, Up::Broken(other, why)) if role.talks_with(other) => {
                self.kill(other, &format!("{role} got from it {why}"));
            }
            (role, message) => self.kill(role, &format!("it may not say {message:?}")),
        }
    }

    /// The configuration to `ike`, when it is wanted there and `ca` can answer for it.
    fn send_config(&mut self) {
        if !self.config_due || !self.secrets_held() || !self.is_running(Role::Ike) {
            return;
        }
        self.config_due = false;
        self.tell(Role::Ike, Down::ConfigBegin(self.config.globals.clone()));
        for index in 0..self.config.policies.len() {
            let policy = self.config.policies[index].clone();
            self.tell(Role::Ike, Down::ConfigPolicy(Box::new(policy)));
        }
        self.tell(Role::Ike, Down::ConfigEnd);
    }

    /// Rules wait for host names: when it is time, has it looked whether they have an address now.
    fn look_up_names(&mut self) {
        if self.names_due.is_some_and(|due| Instant::now() >= due) {
            self.names_due = names_due(&self.unresolved);
            self.read(Purpose::Names);
        }
    }

    // ---- signals and the end ----

    fn signalled(&mut self) -> io::Result<()> {
        let mut numbers = [0; 64];
        let count = match self.signals.read(&mut numbers) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        self.events.again(SIGNALS);
        for number in &numbers[..count] {
            match i32::from(*number) {
                libc::SIGCHLD => self.reap(),
                // What went wrong is in the log.
                libc::SIGHUP => self.read(Purpose::Reload(None)),
                libc::SIGTERM | libc::SIGINT if self.ending.is_none() => {
                    self.log.notice("closing down");
                    self.ending = Some(Instant::now() + FAREWELL);
                    self.slots.values_mut().for_each(|slot| slot.start_at = None);
                    if !self.is_running(Role::Ike) {
                        self.log.error(
                            "the ike process is not there: what it left in the kernel is removed \
                             at the next start",
                        );
                    }
                    self.tell(Role::Ike, Down::Shutdown);
                }
                _ => (),
            }
        }
        Ok(())
    }

    /// Closes a child's link, which is how it is told to end.
    fn close(&mut self, role: Role) {
        let Some(slot) = self.slots.get_mut(&role) else { return };
        let Some(Running { mut process, link, .. }) = slot.running.take() else { return };
        self.events.forget(&link);
        drop(link);
        let until = Instant::now() + PATIENCE;
        while let Ok(None) = process.try_wait() {
            if Instant::now() >= until {
                self.log.error(format!("{role} process does not end; it is killed"));
                let _ = process.kill();
                let _ = process.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends all children and removes the control socket.
    fn end(&mut self) {
        let roles: Vec<Role> = self.slots.keys().copied().collect();
        for role in roles {
            self.listen_to(role);
            self.close(role);
        }
        self.host.end(&mut self.log);
        if let Err(error) = std::fs::remove_file(&self.options.socket) {
            self.log.error(format!("removing {}: {error}", self.options.socket.display()));
        }
        self.log.notice("ended");
    }
}

/// When to look the names up again that have no address.
fn names_due(unresolved: &[PolicyName]) -> Option<Instant> {
    (!unresolved.is_empty()).then(|| Instant::now() + NAMES_AGAIN)
}

fn token(role: Role) -> Token {
    Token(match role {
        Role::Parent => 0,
        Role::Ike => 1,
        Role::Control => 2,
        Role::Relay => 3,
        Role::Reader => 4,
        Role::Ca(number) => 8 + usize::from(number),
    })
}

//! The process that stays root: it opens what others may not, starts them, and starts them again.

mod addresses;
mod host;
mod leases;
mod open;
mod reading;
mod resolver;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use mio::Token;
use serde::{Deserialize, Serialize};

use host::Host;
use leases::Leases;

use super::child::batch;
use super::imsg::{self, Link};
use super::message::{Down, Settings, Up};
use super::poll::Loop;
use super::{Role, sandbox};
use crate::conf::{Config, PolicyName};
use crate::ike::pool::Lease;
use crate::log::{Detail, Log};
use crate::net::Spec;
use crate::sys;
use addresses::Addresses;

/// How long the engine may take to say goodbye and clear the kernel.
const FAREWELL: Duration = Duration::from_secs(6);
/// How long a child may take to end when its link is closed.
const PATIENCE: Duration = Duration::from_secs(1);
/// The first pause before a restart; it doubles with each early death.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause before a restart.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A child that lived so long did not die early.
const LIVED: Duration = Duration::from_secs(30);
/// How long until host names without an address are looked up again.
const NAMES_AGAIN: Duration = Duration::from_secs(60);

/// How much of a configuration may wait until a child has read it, in octets: some 100,000 policies.
const CONFIGURATION: usize = 64 * 1024 * 1024;

const SIGNALS: Token = Token(0);
const ADDRESSES: Token = Token(64);

/// How many leases are told at once: as many as surely fit into a message.
const LEASES_AT_ONCE: usize = 32;

pub use open::{configuration, in_full};
use reading::{Purpose, Reading};

/// What the command line said.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// The configuration file.
    pub file: String,
    /// The directory of keys and certificates.
    pub keys: PathBuf,
    /// Macros that the file cannot change.
    pub macros: Vec<(String, String)>,
    /// Stay in the foreground and log to standard error.
    pub foreground: bool,
    /// How much to log.
    pub detail: Detail,
    /// Where the control socket is.
    pub socket: PathBuf,
    /// The directory for what the next daemon has to know.
    pub state: PathBuf,
    /// Whom the children become.
    pub user: String,
    /// The empty directory that they see.
    pub root: PathBuf,
    /// The ports for IKE, and for IKE and ESP in UDP.
    pub ports: (u16, u16),
    /// Every child SA is encapsulated in UDP.
    pub force_natt: bool,
    /// Never start a negotiation.
    pub passive: bool,
    /// Datagrams go through the `relay` process, also where this is not needed.
    pub relay: bool,
    /// The kernel to be served.
    pub kernel: KernelAt,
}

/// Where a kernel is and what it speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelAt {
    /// The dialect's name.
    pub dialect: String,
    /// A SOCK_SEQPACKET socket that relays to it; `None` is this host's PF_KEY.
    pub relay: Option<PathBuf>,
}

impl KernelAt {
    /// This host's.
    pub fn here() -> Self {
        Self { dialect: pfkey::Dialect::native().name.into(), relay: None }
    }
}

impl std::str::FromStr for KernelAt {
    type Err = String;

    /// `DIALECT:PATH`.
    fn from_str(text: &str) -> Result<Self, String> {
        let names = || pfkey::Dialect::all().map(|dialect| dialect.name).join(", ");
        let (dialect, path) = text.split_once(':').unwrap_or((text, ""));
        if pfkey::Dialect::by_name(dialect).is_none() {
            return Err(format!("{text}: want dialect:path, and a dialect of {}", names()));
        }
        if path.is_empty() {
            return Err(format!("{text}: want dialect:path, the path of a relay's socket"));
        }
        let path = std::path::absolute(path).map_err(|error| format!("{path}: {error}"))?;
        Ok(Self { dialect: dialect.into(), relay: Some(path) })
    }
}

/// A child that runs.
struct Running {
    process: Process,
    link: Link<Down, Up>,
    since: Instant,
}

/// A child's place: empty while it waits to be started again.
#[derive(Default)]
struct Slot {
    running: Option<Running>,
    pause: Duration,
    start_at: Option<Instant>,
    starts: u32,
    /// Of a `ca`: it has the secrets in force.
    holds_secrets: bool,
}

/// The parent.
struct Parent {
    options: Options,
    program: PathBuf,
    log: Log,
    events: Loop,
    signals: UnixStream,
    slots: BTreeMap<Role, Slot>,
    udp: Vec<(Spec, OwnedFd)>,
    kernel: Option<OwnedFd>,
    listener: UnixListener,
    /// What is set on this host, and who has which address.
    host: Host,
    leases: Leases,
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
    let said = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
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
    let listener = open::listener(&options.socket)?;
    if !options.foreground {
        nix::unistd::daemon(true, false).map_err(|e| said("going to the background", &e))?;
        std::env::set_current_dir("/").map_err(|e| said("/", &e))?;
        log = Log::syslog(options.detail);
    }
    sys::set_title(Role::Parent.name());
    let caught = [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGCHLD];
    let signals = sys::catch_signals(&caught).map_err(|e| said("signals", &e))?;
    let mut events = Loop::new().map_err(|e| said("event loop", &e))?;
    events.watch(&signals, SIGNALS).map_err(|e| said("event loop", &e))?;
    let addresses = Addresses::watch(&mut events, &mut log);
    let (host, leases) = open::state(&options.state, &mut log);
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
        kernel,
        listener,
        host,
        leases,
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

impl Parent {
    fn supervise(&mut self) -> io::Result<()> {
        let relay = self.relayed().then_some(Role::Relay);
        let workers = (0..self.config.globals.ca_workers).map(Role::Ca);
        let children: Vec<Role> = workers.chain([Role::Ike, Role::Control]).chain(relay).collect();
        for role in children {
            self.slots.insert(role, Slot::default());
            self.start(role)?;
        }
        self.log.info(format!("running, {} policies", self.config.policies.len()));
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

    // ---- children ----

    /// Starts a child and hands it what it needs.
    fn start(&mut self, role: Role) -> io::Result<()> {
        let (ours, theirs) = imsg::pair()?;
        let quiet = |options: &Options| match options.foreground {
            true => Stdio::inherit(),
            false => Stdio::null(),
        };
        let process = Command::new(&self.program)
            .args(["-P", role.name(), "-u", &self.options.user, "-c"])
            .arg(&self.options.root)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(quiet(&self.options))
            .spawn()?;
        let mut link = Link::new(ours)?;
        link.limit_queued(CONFIGURATION);
        self.events.watch(&link, token(role))?;
        let slot = self.slots.entry(role).or_default();
        slot.start_at = None;
        slot.starts += 1;
        let restarted = slot.starts > 1;
        slot.running = Some(Running { process, link, since: Instant::now() });
        if restarted {
            self.log.notice(format!("{role} process started again"));
        }
        self.tell(role, Down::Detail(self.log.detail()));
        self.provide(role, restarted)?;
        let others: Vec<Role> = self.slots.keys().copied().collect();
        for other in others {
            if role.talks_with(other) && self.is_running(other) {
                let (one, two) = imsg::pair()?;
                self.hand(role, Down::Peer(other), one);
                self.hand(other, Down::Peer(role), two);
            }
        }
        match role {
            Role::Ca(_) => match self.ways.pop() {
                Some(way) => self.give_way(role, way),
                None => self.read(Purpose::Ca),
            },
            Role::Ike => {
                self.addresses.forget();
                self.tell_addresses();
                self.config_due = true;
                self.send_config();
            }
            _ => (),
        }
        Ok(())
    }

    /// The sockets and settings of a role.
    fn provide(&mut self, role: Role, restarted: bool) -> io::Result<()> {
        let holds_udp = if self.relayed() { Role::Relay } else { Role::Ike };
        match role {
            Role::Ike => {
                let settings = Settings {
                    restarted,
                    relayed: self.relayed(),
                    kernel: self.kernel.is_some(),
                    ports: self.options.ports,
                };
                self.tell(role, Down::Settings(settings));
                let leases: Vec<Lease> = self.leases.all().collect();
                for some in leases.chunks(LEASES_AT_ONCE) {
                    self.tell(role, Down::Leases(some.to_vec()));
                }
                if let Some(fd) = self.kernel.as_ref().map(OwnedFd::try_clone).transpose()? {
                    let dialect = self.options.kernel.dialect.clone();
                    self.hand(role, Down::Kernel(dialect), fd);
                }
            }
            Role::Control => {
                let fd = self.listener.as_fd().try_clone_to_owned()?;
                self.hand(role, Down::Listener, fd);
            }
            _ => (),
        }
        if role == holds_udp {
            for index in 0..self.udp.len() {
                let (spec, fd) = (self.udp[index].0, self.udp[index].1.try_clone()?);
                self.hand(role, Down::Udp(spec), fd);
            }
        }
        Ok(())
    }

    fn tell(&mut self, role: Role, message: Down) {
        self.with_link(role, |link| link.send(&message));
    }

    fn hand(&mut self, role: Role, message: Down, descriptor: OwnedFd) {
        self.with_link(role, |link| link.send_with(&message, descriptor));
    }

    /// Does something on a child's link, if it runs; a link that breaks is the end of the child.
    fn with_link(
        &mut self,
        role: Role,
        act: impl FnOnce(&mut Link<Down, Up>) -> Result<(), imsg::Error>,
    ) {
        let Some(slot) = self.slots.get_mut(&role) else { return };
        let Some(running) = &mut slot.running else { return };
        match act(&mut running.link) {
            // A child that is gone is noticed by its signal.
            Ok(()) | Err(imsg::Error::Closed) => (),
            Err(error) => self.kill(role, &error.to_string()),
        }
    }

    /// Ends a child that does what it must not.
    fn kill(&mut self, role: Role, why: &str) {
        self.log.error(format!("{role} process is killed: {why}"));
        let slot = self.slots.get_mut(&role);
        if let Some(running) = slot.and_then(|slot| slot.running.as_mut()) {
            // If it is dead already then the signal of its death is on its way.
            let _ = running.process.kill();
        }
    }

    /// Collects the dead, and sees when they are to come back.
    fn reap(&mut self) {
        self.collect_readers();
        let roles: Vec<Role> = self.slots.keys().copied().collect();
        for role in roles {
            let slot = self.slots.get_mut(&role);
            let running = slot.and_then(|slot| slot.running.as_mut());
            let Some(Ok(Some(status))) = running.map(|r| r.process.try_wait()) else { continue };
            // What it said last may explain its end.
            self.listen_to(role);
            self.buried(role, status);
        }
    }

    fn buried(&mut self, role: Role, status: ExitStatus) {
        let Some(slot) = self.slots.get_mut(&role) else { return };
        let Some(running) = slot.running.take() else { return };
        self.events.forget(&running.link);
        slot.holds_secrets = false;
        if role == Role::Ike {
            self.host.orphan();
        }
        if self.ending.is_some() {
            if role == Role::Ike && !status.success() {
                self.log.error(format!("ike process ended while closing down: {status}"));
            }
            return;
        }
        slot.pause = pause_after(slot.pause, running.since.elapsed());
        slot.start_at = Some(Instant::now() + slot.pause);
        let pause = slot.pause;
        let kept = match role {
            Role::Ike => "; SAs in the kernel go on meanwhile",
            _ => "",
        };
        let text = format!("{role} process ended ({status}); starting it again in {pause:?}{kept}");
        self.log.error(text);
    }

    fn start_due(&mut self) -> io::Result<()> {
        let now = self.events.woke();
        let due = |slot: &Slot| slot.start_at.is_some_and(|at| at <= now);
        let roles: Vec<Role> =
            self.slots.iter().filter(|(_, slot)| due(slot)).map(|(role, _)| *role).collect();
        for role in roles {
            if let Err(error) = self.start(role) {
                self.log.error(format!("starting the {role} process: {error}"));
                if let Some(slot) = self.slots.get_mut(&role) {
                    slot.pause = (slot.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                    slot.start_at = Some(now + slot.pause);
                }
            }
        }
        Ok(())
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
                self.log.notice(format!("logging is {detail:?} now"));
            }
            (Role::Ike, Up::Host(change)) => {
                self.host.change(change, &self.config, &mut self.log);
            }
            (Role::Ike, Up::Lease(lease)) => {
                if let Err(error) = self.leases.keep(lease) {
                    self.log.error(format!("who has which address is not kept: {error}"));
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

/// How long to wait before a child is started again, from the last such pause and how long it lived.
fn pause_after(last: Duration, lived: Duration) -> Duration {
    match lived < LIVED && !last.is_zero() {
        true => (last * 2).min(LONGEST_PAUSE),
        false => FIRST_PAUSE,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_restarts_is_slowed_down_and_a_long_life_forgives() {
        let mut pause = Duration::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            pause = pause_after(pause, Duration::from_millis(10));
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[11], 60_000);
        assert_eq!(pause_after(pause, LIVED), FIRST_PAUSE);
    }
}

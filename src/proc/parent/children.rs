//! The children: started, given what they need, and started again when they die.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::open;
use super::reading::Purpose;
use super::{Parent, token};
use crate::ike::pool::Lease;
use crate::proc::Role;
use crate::proc::imsg::{self, Link};
use crate::proc::message::{Down, Settings, Up};
use crate::proc::options::Options;

/// The first pause before a restart; it doubles with each early death.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause before a restart.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A child that lived so long did not die early.
const LIVED: Duration = Duration::from_secs(30);
/// How much of a configuration may wait until a child has read it, in octets: some 100,000 policies.
const CONFIGURATION: usize = 64 * 1024 * 1024;

/// How many leases, or things in the kernel, are told at once: as many as surely fit into a message.
const TOLD_AT_ONCE: usize = 32;

/// A child that runs.
pub(super) struct Running {
    pub(super) process: Process,
    pub(super) link: Link<Down, Up>,
    pub(super) since: Instant,
}

/// A child's place: empty while it waits to be started again.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) running: Option<Running>,
    pub(super) pause: Duration,
    pub(super) start_at: Option<Instant>,
    pub(super) starts: u32,
    /// Of a `ca`: it has the secrets in force.
    pub(super) holds_secrets: bool,
}

impl Parent {
    /// Starts a child and hands it what it needs.
    pub(super) fn start(&mut self, role: Role) -> io::Result<()> {
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
                None => {
                    self.share_passphrases(role)?;
                    self.read(Purpose::Ca);
                }
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
    pub(super) fn provide(&mut self, role: Role, restarted: bool) -> io::Result<()> {
        let holds_udp = if self.relayed() { Role::Relay } else { Role::Ike };
        match role {
            Role::Ike => {
                let settings = Settings {
                    restarted,
                    relayed: self.relayed(),
                    kernel: self.kernel.is_some(),
                    ports: self.options.ports,
                    rdomain: self.rdomain,
                };
                self.tell(role, Down::Settings(settings));
                let leases: Vec<Lease> = self.leases.all().collect();
                for some in leases.chunks(TOLD_AT_ONCE) {
                    self.tell(role, Down::Leases(some.to_vec()));
                }
                if restarted {
                    self.reopen_kernel();
                }
                for some in self.record.all().chunks(TOLD_AT_ONCE) {
                    self.tell(role, Down::Left(some.to_vec()));
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

    /// A new PF_KEY socket, where the earlier `ike` has registered on the old one for good.
    fn reopen_kernel(&mut self) {
        let dialect = pfkey::Dialect::by_name(&self.options.kernel.dialect);
        if self.kernel.is_none() || dialect.is_none_or(|it| it.behaviour.registers_again) {
            return;
        }
        match open::kernel(&self.options.kernel) {
            Ok(fd) => self.kernel = Some(fd),
            Err(error) => self.log.error(format!("the new ike process has no kernel: {error}")),
        }
    }

    pub(super) fn tell(&mut self, role: Role, message: Down) {
        self.with_link(role, |link| link.send(&message));
    }

    pub(super) fn hand(&mut self, role: Role, message: Down, descriptor: OwnedFd) {
        self.with_link(role, |link| link.send_with(&message, descriptor));
    }

    /// Does something on a child's link, if it runs; a link that breaks is the end of the child.
    pub(super) fn with_link(
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
    pub(super) fn kill(&mut self, role: Role, why: &str) {
        self.log.error(format!("{role} process is killed: {why}"));
        let slot = self.slots.get_mut(&role);
        if let Some(running) = slot.and_then(|slot| slot.running.as_mut()) {
            // If it is dead already then the signal of its death is on its way.
            let _ = running.process.kill();
        }
    }

    /// Collects the dead, and sees when they are to come back.
    pub(super) fn reap(&mut self) {
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

    pub(super) fn buried(&mut self, role: Role, status: ExitStatus) {
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

    pub(super) fn start_due(&mut self) -> io::Result<()> {
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
}

/// How long to wait before a child is started again, from the last such pause and how long it lived.
fn pause_after(last: Duration, lived: Duration) -> Duration {
    match lived < LIVED && !last.is_zero() {
        true => (last * 2).min(LONGEST_PAUSE),
        false => FIRST_PAUSE,
    }
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

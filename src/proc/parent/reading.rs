//! Having things read: the reader is started, says what it read, and hands the secrets to `ca` by itself.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child as Process, Command, Stdio};
use std::time::{Duration, Instant};

use super::children::Slot;
use super::{Parent, names_due, token};
use crate::conf::{self, Config, Diagnostic, PolicyName, Severity, diff};
use crate::proc::Role;
use crate::proc::child::batch;
use crate::proc::imsg::{self, Link};
use crate::proc::message::{ClientId, Down};
use crate::proc::options::Options;
use crate::proc::reader::{self, Order, Told};

/// How long a reader may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// The first and the longest pause until secrets that cannot be had are looked for again.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// What is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// SIGHUP, or an oakctl that waits for the outcome.
    Reload(Option<ClientId>),
    /// A `ca` that was started again has no secrets.
    Ca,
    /// Rules wait for host names.
    Names,
}

/// What was read, without the secrets.
#[derive(Default)]
pub struct Draft {
    /// The configuration.
    pub config: Config,
    /// The rules that wait for host names.
    pub unresolved: Vec<PolicyName>,
    /// Remarks about it.
    pub diagnostics: Vec<Diagnostic>,
    /// Remarks about files of keys.
    pub remarks: Vec<String>,
    /// What the secrets are, salted.
    pub print: [u8; 32],
}

/// How a message changes a draft: `Some` when it is the last.
fn took(draft: &mut Draft, told: Told) -> Option<bool> {
    match told {
        Told::Diagnostic(diagnostic) => draft.diagnostics.push(*diagnostic),
        Told::Remark(remark) => draft.remarks.push(remark),
        Told::Globals(globals) => draft.config.globals = *globals,
        Told::Policy(policy) => draft.config.policies.push(*policy),
        Told::Unresolved(name) => draft.unresolved.push(name),
        Told::Good { print } => {
            draft.print = print;
            return Some(true);
        }
        Told::Bad => return Some(false),
    }
    None
}

/// A reader at work.
pub struct Reading {
    process: Process,
    link: Link<Order, Told>,
    purpose: Purpose,
    draft: Draft,
    pub(super) until: Instant,
}

/// Starts a reader.
fn start(
    program: &Path,
    options: &Options,
    salt: [u8; 32],
    ask: bool,
) -> io::Result<(Process, Link<Order, Told>)> {
    let (ours, theirs) = imsg::pair()?;
    let errors = match options.foreground || ask {
        true => Stdio::inherit(),
        false => Stdio::null(),
    };
    let process = Command::new(program)
        .args(["-P", Role::Reader.name()])
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn()?;
    let mut link: Link<Order, Told> = Link::new(ours)?;
    let order = Order::Read { options: Box::new(options.clone()), ask, salt };
    link.send(&order).map_err(io::Error::other)?;
    Ok((process, link))
}

/// So many ways on which a reader that has read everything hands over the secrets; the last word to it.
fn ways(mut link: Link<Order, Told>, count: u8) -> io::Result<Vec<OwnedFd>> {
    let mut ways = Vec::new();
    for _ in 0..count {
        let (way, end) = imsg::pair()?;
        link.send_with(&Order::Ca, end).map_err(io::Error::other)?;
        ways.push(way);
    }
    Ok(ways)
}

/// Has everything read for the first time, and waits for it: passphrases may be asked for. The reader
/// goes on handing over the secrets when this is done.
///
/// # Errors
///
/// What is wrong, in full.
pub fn first(
    program: &Path,
    options: &Options,
    salt: [u8; 32],
) -> Result<(Process, Draft, Vec<OwnedFd>), String> {
    let said = |error: &dyn std::fmt::Display| format!("reading the configuration: {error}");
    let (process, mut link) = start(program, options, salt, true).map_err(|e| said(&e))?;
    let mut draft = Draft::default();
    loop {
        let (told, _) = reader::next(&mut link).map_err(|error| said(&error))?;
        match took(&mut draft, told) {
            None => (),
            Some(true) => {
                let ways = ways(link, draft.config.globals.ca_workers).map_err(|e| said(&e))?;
                return Ok((process, draft, ways));
            }
            Some(false) => return Err(conf::in_full(&draft.diagnostics)),
        }
    }
}

impl Parent {
    /// Has everything read; one reader at a time.
    pub(super) fn read(&mut self, purpose: Purpose) {
        if self.ending.is_some() {
            return;
        }
        if self.reading.is_some() {
            if !self.to_read.contains(&purpose) {
                self.to_read.push_back(purpose);
            }
            return;
        }
        let begun = start(&self.program, &self.options, self.salt, false).and_then(|it| {
            self.events.watch(&it.1, token(Role::Reader))?;
            Ok(it)
        });
        match begun {
            Ok((process, link)) => {
                let (draft, until) = (Draft::default(), Instant::now() + PATIENCE);
                self.reading = Some(Reading { process, link, purpose, draft, until });
            }
            Err(error) => self.not_read(purpose, &format!("starting the reader: {error}"), &[]),
        }
    }

    /// The reader says something, or ended.
    pub(super) fn reader_ready(&mut self) {
        let Some(reading) = &mut self.reading else { return };
        let (messages, end) = batch(&mut reading.link, &mut self.events, token(Role::Reader));
        for (told, _) in messages {
            if let Some(good) = took(&mut reading.draft, told) {
                return self.reader_done(good);
            }
        }
        if let Err(error) = end {
            self.reader_failed(&format!("the reader failed: {error}"));
        }
    }

    /// A reader that takes too long is ended.
    pub(super) fn reader_overdue(&mut self) {
        if self.reading.as_ref().is_some_and(|reading| Instant::now() >= reading.until) {
            self.reader_failed("the reader does not finish");
        }
        if self.again_at.is_some_and(|at| Instant::now() >= at) {
            self.again_at = None;
            self.read(Purpose::Ca);
        }
    }

    fn reader_failed(&mut self, why: &str) {
        let Some(mut reading) = self.reading.take() else { return };
        self.events.forget(&reading.link);
        // If it is dead already so much the better.
        let _ = reading.process.kill();
        self.readers.push(reading.process);
        self.not_read(reading.purpose, why, &[]);
        self.read_next();
    }

    fn reader_done(&mut self, good: bool) {
        let Some(reading) = self.reading.take() else { return };
        let Reading { process, link, purpose, draft, .. } = reading;
        self.events.forget(&link);
        // It goes on handing over the secrets, and is collected when it ends.
        self.readers.push(process);
        match good {
            true => self.was_read(purpose, draft, link),
            false => {
                let why = "the configuration is wrong";
                self.not_read(purpose, why, &draft.diagnostics);
            }
        }
        self.read_next();
    }

    fn read_next(&mut self) {
        if let Some(next) = self.to_read.pop_front() {
            self.read(next);
        }
    }

    /// Readers that ended are collected. One from before the daemon went to the background is not its
    /// child any more.
    pub(super) fn collect_readers(&mut self) {
        self.readers.retain_mut(|process| matches!(process.try_wait(), Ok(None)));
    }

    fn not_read(&mut self, purpose: Purpose, why: &str, errors: &[Diagnostic]) {
        match purpose {
            Purpose::Names => return,
            Purpose::Reload(_) => {
                self.log.error("the configuration is not loaded, the one in force is kept");
            }
            Purpose::Ca => {
                let pause = (self.again * 2).clamp(AGAIN.0, AGAIN.1);
                self.again = pause;
                self.again_at = Some(Instant::now() + pause);
                self.log.error(format!(
                    "{why}: the ca process was started again and gets no secrets from it; tunnels that \
                     stand go on, none can be opened; trying again in {} s",
                    pause.as_secs()
                ));
            }
        }
        errors.iter().for_each(|error| self.log.error(error.brief()));
        if let Purpose::Reload(Some(client)) = purpose {
            let errors = match errors.is_empty() {
                true => why.to_owned(),
                false => conf::in_full(errors),
            };
            let outcome = Err(format!("the configuration in force is kept:\n{errors}"));
            self.tell(Role::Control, Down::Reloaded { client, outcome });
        }
    }

    fn was_read(&mut self, purpose: Purpose, mut draft: Draft, link: Link<Order, Told>) {
        let decoupled = self.kernel.is_none();
        let others = draft.config.globals.decouple != decoupled;
        draft.config.globals.decouple = decoupled;
        let same = draft.config == self.config && draft.print == self.print;
        match purpose {
            Purpose::Names if !self.names_alone(&draft) => {
                self.names_due = names_due(&draft.unresolved);
                return;
            }
            Purpose::Ca => {
                self.again = Duration::ZERO;
                if same {
                    let without = self.workers(|slot| !slot.holds_secrets);
                    return self.hand_secrets(link, without);
                }
                self.log
                    .notice("the configuration has changed since it was loaded: it is loaded now");
            }
            _ => (),
        }
        self.remark(&draft);
        if others {
            self.log.notice("`set decouple` takes effect at the next start");
        }
        let text = format!("configuration loaded, {}", conf::policies(draft.config.policies.len()));
        self.take(draft);
        self.fit_workers();
        let all = self.workers(|_| true);
        self.hand_secrets(link, all);
        self.log.notice(text.clone());
        if let Purpose::Reload(Some(client)) = purpose {
            self.tell(Role::Control, Down::Reloaded { client, outcome: Ok(text) });
        }
    }

    /// What is unwise, for the log.
    pub(super) fn remark(&mut self, draft: &Draft) {
        for remark in &draft.diagnostics {
            if remark.severity == Severity::Warning {
                self.log.notice(remark.brief());
            }
        }
        draft.remarks.iter().for_each(|remark| self.log.notice(remark.clone()));
    }

    /// Makes a configuration the one in force.
    fn take(&mut self, draft: Draft) {
        let Draft { config, unresolved, print, .. } = draft;
        self.names_due = names_due(&unresolved);
        (self.config, self.unresolved, self.print) = (config, unresolved, print);
        self.config_due = true;
    }

    /// The workers that run and are as it is said.
    fn workers(&self, is: impl Fn(&Slot) -> bool) -> Vec<Role> {
        let running = self.slots.iter().filter(|(_, slot)| slot.running.is_some() && is(slot));
        running.map(|(role, _)| *role).filter(|role| matches!(role, Role::Ca(_))).collect()
    }

    /// As many workers as are configured.
    fn fit_workers(&mut self) {
        let count = self.config.globals.ca_workers;
        let known: Vec<Role> = self.slots.keys().copied().collect();
        for role in known {
            if matches!(role, Role::Ca(number) if number >= count) {
                self.listen_to(role);
                self.close(role);
                self.slots.remove(&role);
            }
        }
        for role in (0..count).map(Role::Ca) {
            if !self.slots.contains_key(&role) {
                // It is started with the others that are due.
                self.slots.entry(role).or_default().start_at = Some(Instant::now());
            }
        }
    }

    /// Has a reader hand the secrets to these workers.
    fn hand_secrets(&mut self, link: Link<Order, Told>, workers: Vec<Role>) {
        let count = u8::try_from(workers.len()).unwrap_or(u8::MAX);
        match ways(link, count) {
            Ok(ways) => workers.into_iter().zip(ways).for_each(|(role, way)| {
                self.give_way(role, way);
            }),
            Err(error) => self.not_read(Purpose::Ca, &format!("ways for secrets: {error}"), &[]),
        }
    }

    /// Has another worker give its passphrases to one that was started, as nobody is asked again.
    pub(super) fn share_passphrases(&mut self, to: Role) -> io::Result<()> {
        if let Some(from) = self.workers(|slot| slot.holds_secrets).first().copied() {
            let (one, other) = imsg::pair()?;
            self.hand(to, Down::Shared, one);
            self.hand(from, Down::Share, other);
        }
        Ok(())
    }

    /// A way on which the secrets come, to a worker.
    pub(super) fn give_way(&mut self, role: Role, way: OwnedFd) {
        if let Some(slot) = self.slots.get_mut(&role) {
            slot.holds_secrets = false;
        }
        self.hand(role, Down::Secrets, way);
    }

    /// Whether all workers that run have the secrets.
    pub(super) fn secrets_held(&self) -> bool {
        !self.workers(|_| true).is_empty() && self.workers(|slot| !slot.holds_secrets).is_empty()
    }

    /// Whether all that has changed is that names have addresses now. Nothing else of the file is taken
    /// over before a reload.
    fn names_alone(&mut self, draft: &Draft) -> bool {
        let changes = diff::changes(&self.config, &draft.config);
        let others = !changes.adjusted.is_empty()
            || !changes.changed.is_empty()
            || !changes.removed.is_empty()
            || self.config.globals != draft.config.globals
            || !changes.added.iter().all(|name| self.unresolved.contains(name));
        if others || changes.added.is_empty() {
            return false;
        }
        for name in &changes.added {
            self.log.notice(format!("the host names of {} have addresses now", name.0));
        }
        true
    }
}

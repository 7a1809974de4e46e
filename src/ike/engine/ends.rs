//! How things end: single IKE SAs, all of them, the daemon.

use super::Engine;
use crate::ike::event::Command;
use crate::ike::report::Gone;
use crate::ike::sa::Sa;
use crate::ike::table::SaId;
use crate::ike::timer::Timer;

impl Engine {
    /// Ends an IKE SA: with notice to the peer if it stands.
    pub(super) fn end(&mut self, id: SaId, why: Gone) {
        self.with(id, |sa, core| sa.delete(core, why));
    }

    /// An operator's command.
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::ResetAll | Command::ResetSa => self.end_where(Gone::ByOperator, |_| true),
            Command::ResetId(name) => self.end_where(Gone::ByOperator, |sa| is_of(sa, &name)),
            Command::Rekey { name, ike } => {
                for id in self.table.ids(|sa| is_of(sa, &name)) {
                    self.with(id, |sa, core| sa.rekey(core, ike));
                }
            }
            Command::Trace(on) => self.core.trace = on,
            Command::Shutdown => self.shutdown(),
        }
    }

    fn end_where(&mut self, why: Gone, condition: impl FnMut(&Sa) -> bool) {
        for id in self.table.ids(condition) {
            self.end(id, why);
        }
    }

    fn shutdown(&mut self) {
        if self.core.ending {
            return;
        }
        self.core.ending = true;
        self.waiting.clear();
        self.shutdown_at = Some(self.core.now.after(self.core.settings.farewell));
        self.timers.set(Timer::Shutdown, None, self.shutdown_at);
        for running in self.core.policies.take() {
            running.traps.iter().for_each(|flow| self.core.release(flow));
        }
        self.end_where(Gone::Shutdown, |_| true);
    }
}

/// Whether an IKE SA is of the peer with this identity, or of this policy.
fn is_of(sa: &Sa, name: &str) -> bool {
    let id = sa.standing().map(|standing| standing.ids.1.to_string());
    let said = |id: &String| *id == name || id.ends_with(&format!(" {name}"));
    sa.policy_name().0 == name || id.as_ref().is_some_and(said)
}

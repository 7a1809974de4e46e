//! isakmpd has one default peer: `ike` rules without a peer's address must agree about it.

use super::{Entry, IkeEntry, IkeMode};
use crate::conf::source::Names;

/// The first rule for the default peer.
#[derive(Debug, Default)]
pub struct DefaultPeer(Option<Box<IkeEntry>>);

impl DefaultPeer {
    /// In what an entry differs from the first for the default peer, in ipsecctl's words.
    pub fn compare(&mut self, entry: &Entry) -> Vec<&'static str> {
        let Entry::Ike(entry) = entry else { return Vec::new() };
        if entry.peer.is_some() {
            return Vec::new();
        }
        let Some(first) = &self.0 else {
            self.0 = Some(entry.clone());
            return Vec::new();
        };
        let local = |entry: &IkeEntry| entry.local.as_ref().map(|local| local.name.clone());
        let aggressive =
            |entry: &IkeEntry| entry.rule.phase1.as_ref().is_some_and(|phase| phase.aggressive);
        let (one, other) = (&first.rule, &entry.rule);
        let psks = one.psk.as_ref().zip(other.psk.as_ref());
        let differences = [
            (local(first) != local(entry), "default peer local mismatch"),
            (one.psk.is_some() != other.psk.is_some(), "default peer phase 1 auth mismatch"),
            (psks.is_some_and(|(a, b)| a != b), "default peer psk mismatch"),
            (aggressive(first) != aggressive(entry), "default peer phase 1 mode mismatch"),
            (one.ends.srcid != other.ends.srcid, "default peer srcid mismatch"),
            (one.ends.dstid != other.ends.dstid, "default peer dstid mismatch"),
        ];
        differences.iter().filter(|(differs, _)| *differs).map(|(_, words)| *words).collect()
    }

    /// The first entry was printed: if it is `dynamic`, it has got this host's name as `srcid`.
    pub fn printed(&mut self, entry: &Entry, names: &dyn Names) {
        let (Some(first), Entry::Ike(entry)) = (&mut self.0, entry) else { return };
        let dynamic = first.rule.mode == Some(IkeMode::Dynamic);
        let same = first.src == entry.src && first.dst == entry.dst && first.rule == entry.rule;
        if dynamic && same && first.rule.ends.srcid.is_none() {
            first.rule.ends.srcid = names.hostname();
        }
    }
}

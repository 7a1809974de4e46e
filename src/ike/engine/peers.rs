//! What one IKE SA means for others: successors, peers that started anew, two opened at once.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use crate::conf::SaProtocol;
use crate::ike::child::ChildId;
use crate::ike::event::Direction;
use crate::ike::inner::Inner;
use crate::ike::natt::Path;
use crate::ike::report::{Event, Gone};
use crate::ike::sa::{Body, Sa, inherit};
use crate::ike::selector;
use crate::ike::table::{Key, SaId};
use crate::ike::v1;
use crate::ike::v2::{self, stray::Hint};
use crate::wire::{EspSpi, Header};

/// How long the loser of two IKE SAs opened at once is kept, until the other surely carries traffic.
const SUPERSEDED: Duration = Duration::from_secs(2);

impl Engine {
    /// Our addresses are others: IKE SAs whose ends may move see what it means for them.
    pub(super) fn addresses(&mut self, addresses: Vec<IpAddr>) {
        if addresses == self.core.addresses {
            return;
        }
        self.core.addresses = addresses;
        for id in self.table.ids(|sa| sa.frame.mobility.is_some()) {
            self.with(id, |sa, core| {
                let Body::V2(state) = &mut sa.body else { return };
                if let Some(state) = state.established_mut() {
                    state.addresses_changed(&mut sa.frame, core);
                }
            });
        }
    }

    /// A new child took flows that the child of another peer has too: only one of them gets the traffic.
    pub(super) fn covers(&mut self, id: SaId, child: ChildId) {
        let Some(sa) = self.table.get(id) else { return };
        let Some(child) = sa.frame.children.iter().find(|it| it.id == child) else { return };
        let covered = child
            .agreement
            .flows
            .iter()
            .find_map(|flow| Some((flow, self.core.flows.covered(Direction::Out, *flow)?)));
        let Some((flow, (reqid, remote))) = covered else { return };
        let has = |sa: &Sa| sa.frame.children.iter().any(|it| it.agreement.reqid == reqid);
        let other = self.table.found(Key::Remote(remote), has).first().copied();
        let Some(other) = other.and_then(|id| self.table.get(id)) else { return };
        let (Some(now), Some(before)) = (sa.standing(), other.standing()) else { return };
        // A peer that came back from elsewhere is no other.
        if now.who().is(&before.who()) {
            return;
        }
        let (name, at) = (&other.frame.policy.name.0, other.frame.remote);
        let other = format!("{name} ({at}), {}", before.ids.1);
        let flow = selector::printed(flow);
        sa.frame.report(&mut self.core, Event::FlowCovered { flow, other });
    }

    /// The kernel saw packets of an inbound SA come from elsewhere.
    pub(super) fn mapping(&mut self, spi: EspSpi, remote: SocketAddr) {
        let Some(id) = self.core.by_spi.get(&spi).copied() else { return };
        self.with(id, |sa, core| {
            let path = Path { local: sa.frame.local, remote };
            sa.follow(core, path);
        });
    }

    /// The peer may have forgotten an SA that it has with us at this address.
    pub(super) fn hinted(&mut self, header: &Header, hint: Hint, remote: SocketAddr) {
        let there = |sa: &Sa| sa.frame.remote.ip() == remote.ip();
        let found = match hint {
            Hint::Ike => {
                let spis = (header.initiator, header.responder);
                let own = [spis.0, spis.1].map(|spi| self.table.get(SaId(spi)));
                let mut named = own.into_iter().flatten();
                named.find(|sa| there(sa) && sa.frame.spis() == spis).map(Sa::id)
            }
            Hint::Child(spi) if self.core.strays.hears(self.core.now, remote.ip()) => {
                let has = |sa: &Sa| sa.frame.children.iter().any(|it| it.agreement.spi_out == spi);
                let key = Key::Remote(remote.ip());
                self.table.found(key, |sa| there(sa) && has(sa)).first().copied()
            }
            Hint::Child(_) => None,
        };
        let Some(id) = found else {
            let why = "it says that an SA is not known, which we do not have either".into();
            return self.core.report(Some(remote), None, Event::Dropped { why });
        };
        self.with(id, |sa, core| {
            v2::established(sa, core, |state, frame, core| state.doubt(frame, core, hint));
        });
    }

    /// The children of one IKE SA go over to another.
    pub(super) fn inherit(&mut self, from: SaId, to: SaId) {
        let (Some(mut old), Some(mut new)) = (self.table.take(from), self.table.take(to)) else {
            return;
        };
        let outlived = old.predecessor();
        inherit(&mut old, &mut new, &mut self.core);
        self.keep(new);
        self.keep(old);
        // The peer owes a deletion of that for the second time: it stays as long as one of it may come late.
        if let Some(oldest) = outlived.and_then(|it| self.table.get(it)?.predecessor()) {
            self.with(oldest, |sa, core| sa.abandon(core, Gone::Replaced));
        }
        self.with(from, |sa, core| sa.advance(core));
    }

    /// A new IKE SA with the same peer, which takes the place of this one when its children stand.
    pub(super) fn reauthenticate(&mut self, id: SaId) {
        let Some(sa) = self.table.get(id) else { return };
        let (policy, local, remote) =
            (Arc::clone(&sa.frame.policy), sa.frame.local, sa.frame.remote);
        let coming = |other: &Sa| other.frame.succeeds == Some(id);
        if !self.table.found(Key::Policy(&policy), coming).is_empty() {
            return;
        }
        if let Some(mut new) = Sa::open(&mut self.core, policy, local, remote, false) {
            new.frame.succeeds = Some(id);
            self.keep(new);
        }
    }

    /// The peer calls. Were it to hear of a first contact now, it would drop what it has just opened, without a word.
    pub(super) fn called(&mut self, id: SaId) {
        let Some(peer) = self.table.get(id).map(|sa| sa.frame.remote.ip()) else { return };
        let calls = |sa: &Sa| sa.frame.initiator && sa.is_opening() && sa.frame.remote.ip() == peer;
        for other in self.table.found(Key::Remote(peer), calls) {
            self.with(other, |sa, _| sa.frame.first_contact = false);
        }
    }

    /// What a newly authenticated peer means for its other IKE SAs.
    pub(super) fn newly_established(&mut self, id: SaId, initial_contact: bool) {
        let Some(sa) = self.table.get(id) else { return };
        let Some(standing) = sa.standing() else { return };
        let (created, who) = (sa.frame.created, standing.who());
        let remote_id = standing.ids.1.clone();
        let succeeds = sa.frame.succeeds;
        let (policy, peer) = (Arc::clone(&sa.frame.policy), sa.frame.remote);
        // An address that sticks to an identity is of use in one IKE SA.
        let addressed = matches!(sa.frame.hosts().inner, Inner::Peers(_));
        let takes_over = self.core.globals.sticky_address && addressed;
        let major = policy.version.major();
        self.core.policies.succeeded(&policy.name);
        let others = self.table.found(Key::Peer(&remote_id), |other| {
            let standing = other.standing();
            other.id() != id
                && Some(other.id()) != succeeds
                && standing.is_some_and(|it| it.who().is(&who))
        });
        let older = |other: &&SaId| {
            let standing = self.table.get(**other).and_then(|sa| sa.standing());
            standing.is_some_and(|it| it.since < created)
        };
        let old: Vec<_> = others.iter().filter(older).copied().collect();
        if initial_contact {
            // One that came to be since the peer began is not one that the peer has forgotten.
            if !old.is_empty() {
                let event = Event::InitialContact { removed: old.len() };
                self.core.report(Some(peer), Some(&policy.name), event);
            }
            for other in &old {
                self.with(*other, |sa, core| sa.abandon(core, Gone::Forgotten));
            }
        } else if self.core.globals.enforce_single_ike_sa || takes_over {
            for other in &old {
                self.with(*other, |sa, core| sa.delete(core, Gone::Replaced));
            }
        }
        if major == 1 {
            let orphans = self.orphans(id);
            if initial_contact {
                for orphan in orphans {
                    self.with(orphan, |sa, core| sa.abandon(core, Gone::Forgotten));
                }
            } else {
                self.succeed(id, &orphans, &old);
            }
        }
        self.thin_out(&others, peer.ip());
        for other in others {
            self.supersede(id, other);
        }
    }

    /// A peer that opens one IKE SA after the other, and lets them stand, has the oldest taken away.
    fn thin_out(&mut self, others: &[SaId], at: IpAddr) {
        let standing = others.iter().filter_map(|other| {
            let sa = self.table.get(*other).filter(|sa| sa.frame.remote.ip() == at)?;
            let standing = sa.standing().filter(|it| !it.ending && !it.replaced)?;
            Some((standing.since, *other))
        });
        let all: Vec<_> = standing.collect();
        if all.len() >= self.core.settings.of_one_peer
            && let Some((_, oldest)) = all.into_iter().min()
        {
            self.end(oldest, Gone::Replaced);
        }
    }

    /// IKEv1: what the peer of this one has left of others that are deleted.
    fn orphans(&self, id: SaId) -> Vec<SaId> {
        let Some(sa) = self.table.get(id) else { return Vec::new() };
        let Some(peer) = sa.standing().map(|it| it.who()) else { return Vec::new() };
        let (policy, remote) = (&sa.frame.policy, sa.frame.remote.ip());
        self.table.found(Key::Remote(remote), |other| {
            other.frame.remote.ip() == remote
                && other.serves(policy)
                && other.orphaned_by().is_some_and(|it| it.is(&peer))
        })
    }

    /// IKEv1: the children of an older IKE SA with the same peer go over to a newer one. Orphans are
    /// negotiated anew at once, as the peer may have dropped them.
    fn succeed(&mut self, id: SaId, orphans: &[SaId], others: &[SaId]) {
        let Some(sa) = self.table.get(id) else { return };
        let (policy, remote) = (Arc::clone(&sa.frame.policy), sa.frame.remote.ip());
        let (ours, created) = (sa.frame.initiator, sa.frame.created);
        for orphan in orphans {
            self.with(*orphan, |sa, core| sa.frame.renew_since(sa.frame.created, core.now));
            self.inherit(*orphan, id);
            self.with(*orphan, |sa, core| sa.abandon(core, Gone::Replaced));
        }
        for other in others {
            let alike = self.table.get(*other).is_some_and(|it| {
                let replaced = it.standing().is_some_and(|it| it.replaced || it.ending);
                !replaced && it.frame.remote.ip() == remote && it.serves(&policy)
            });
            if !alike || *other == id {
                continue;
            }
            let at = self.core.now.after(SUPERSEDED);
            self.with(*other, |sa, core| {
                sa.replaced(core);
                if ours {
                    sa.supersede(core, at);
                    sa.frame.renew_since(created, core.now);
                }
            });
            self.inherit(*other, id);
            if let Some(sa) = self.table.get(id) {
                let event = Event::IkeRekeyed { spis: sa.frame.printed_spis() };
                sa.frame.report(&mut self.core, event);
                self.core.stats.rekeys += 1;
            }
        }
    }

    /// IKEv1: a successor is a phase 1 of its own.
    pub(super) fn reopen(&mut self, id: SaId) {
        let Some(sa) = self.table.get(id) else { return };
        let (local, remote) = (sa.frame.local, sa.frame.remote);
        let policy = Arc::clone(&sa.frame.policy);
        let coming = |other: &Sa| other.is_opening() && other.serves(&policy);
        let coming = self.table.found(Key::Remote(remote.ip()), coming);
        let replaced = sa.standing().is_some_and(|it| it.replaced || it.ending);
        if !coming.is_empty() || replaced || self.core.ending {
            return;
        }
        if let Some(sa) = Sa::open(&mut self.core, policy, local, remote, false) {
            self.keep(sa);
        }
    }

    /// IKEv1: an IKE SA was deleted. Its children go to the newest with the same peer; without one
    /// they live on until there is one.
    pub(super) fn bequeath(&mut self, id: SaId) {
        if self.table.get(id).is_none_or(|sa| sa.standing().is_none()) {
            return;
        }
        if let Some(heir) = self.heir_of(id) {
            self.with(heir, |sa, core| {
                v1::established(sa, core, |state, frame, core| state.serve_again(frame, core));
            });
            self.inherit(id, heir);
            return self.with(id, |sa, core| sa.abandon(core, Gone::Replaced));
        }
        self.with(id, |sa, core| {
            if sa.frame.children.is_empty() {
                return sa.abandon(core, Gone::ByPeer);
            }
            sa.frame.report(core, Event::IkeDeleted { why: Gone::ByPeer });
            sa.orphan();
            core.lost(&sa.frame.policy.name, Gone::ByPeer);
        });
    }

    /// IKEv1: a Quick Mode came to its end on an IKE SA whose children are another's by now. The peer may think
    /// that this child goes with the IKE SA on which it was made: whoever opened the other makes it anew.
    pub(super) fn hand_over(&mut self, id: SaId) {
        let Some(heir) = self.heir_of(id) else { return };
        if self.table.get(heir).is_some_and(|sa| sa.frame.initiator) {
            self.with(id, |sa, core| sa.frame.renew_since(sa.frame.created, core.now));
        }
        self.inherit(id, heir);
    }

    /// IKEv1: the newest IKE SA with the same peer that may have the children of this one. One that was replaced
    /// serves again where there is no other: where openings crossed, each side may have replaced another.
    fn heir_of(&self, id: SaId) -> Option<SaId> {
        let sa = self.table.get(id)?;
        let (peer, remote) = (sa.standing()?.who(), sa.frame.remote.ip());
        let policy = &sa.frame.policy;
        let heirs = self.table.found(Key::Remote(remote), |other| {
            let fits = other.standing().is_some_and(|it| !it.ending && it.who().is(&peer));
            fits && other.id() != id && other.frame.remote.ip() == remote && other.serves(policy)
        });
        let rank = |heir: &SaId| {
            let standing = self.table.get(*heir)?.standing()?;
            Some((!standing.replaced, standing.since))
        };
        heirs.into_iter().max_by_key(rank)
    }

    /// IKEv1: the peer deletes a child SA by one IKE SA, and another has that.
    pub(super) fn child_deleted(&mut self, id: SaId, protocol: SaProtocol, spi: EspSpi) {
        let Some(sa) = self.table.get(id) else { return };
        let Some(peer) = sa.standing().map(|it| it.who()) else { return };
        let has = |other: &Sa| {
            let who = other.standing().map(|it| it.who());
            let same = who.is_some_and(|it| it.is(&peer))
                || other.orphaned_by().is_some_and(|it| it.is(&peer));
            let mut children = other.frame.children.iter();
            same && children.any(|child| child.agreement.sends_by(protocol, spi))
        };
        let found = self.table.found(Key::Remote(sa.frame.remote.ip()), has);
        if let Some(other) = found.first() {
            self.with(*other, |sa, core| v1::inform::child_deleted(sa, core, protocol, spi));
        }
    }

    /// Both sides opened at once: of two IKE SAs for the same policy, opened by different sides, the
    /// one with the lower initiator's SPI goes, deleted by the side that opened it.
    fn supersede(&mut self, one: SaId, other: SaId) {
        let (Some(first), Some(second)) = (self.table.get(one), self.table.get(other)) else {
            return;
        };
        let alike = Arc::ptr_eq(&first.frame.policy, &second.frame.policy)
            && first.frame.remote.ip() == second.frame.remote.ip()
            && first.frame.initiator != second.frame.initiator;
        let replaced = [first, second].iter().any(|sa| sa.standing().is_some_and(|it| it.replaced));
        if !alike || replaced {
            return;
        }
        let (loser, winner) = match first.frame.spis().0 < second.frame.spis().0 {
            true => (first, second),
            false => (second, first),
        };
        let (id, ours, winner) = (loser.id(), loser.frame.initiator, winner.id());
        let shared = loser.is_shared();
        if ours {
            loser.frame.report(&mut self.core, Event::Superseded);
            let at = self.core.now.after(SUPERSEDED);
            self.with(id, |sa, core| sa.supersede(core, at));
        }
        if shared {
            self.inherit(id, winner);
        }
    }
}

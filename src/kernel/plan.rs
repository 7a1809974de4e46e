//! What the engine asks for and a kernel does in several steps.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use pfkey::{Behaviour, Moves, Request, SaId, SaInfo, SaSpec};

use super::{Asked, translate};
use crate::conf::SaProtocol;
use crate::ike::event::{Direction, SaKey, SaMove};
use crate::wire::EspSpi;

/// What belongs to an SA beyond its name.
#[derive(Debug, Clone)]
pub struct Companion {
    /// The rdomain by which the kernel finds it.
    pub rdomain: Option<u16>,
    /// The other SAs of its bundle.
    pub beside: Beside,
}

/// The other SAs of a bundle, which come and go with the one in the middle; few SAs have any.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// IPComp, whose packets it protects.
    pub ipcomp: Option<Box<SaSpec>>,
    /// AH around its packets.
    pub around: Option<Box<SaSpec>>,
}

impl Beside {
    /// The inner one first.
    pub fn iter(&self) -> impl Iterator<Item = &SaSpec> {
        self.ipcomp.iter().chain(&self.around).map(|spec| &**spec)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ipcomp.is_none() && self.around.is_none()
    }

    /// They are between these hosts from now on.
    pub fn relocate(&mut self, src: IpAddr, dst: IpAddr) {
        for spec in self.ipcomp.iter_mut().chain(&mut self.around) {
            (spec.src, spec.dst) = (src, dst);
        }
    }

    /// The pairs of a bundle about this SA, each the inner one first.
    fn pairs(&self, middle: SaId) -> Vec<(SaId, SaId)> {
        let ipcomp = self.ipcomp.iter().map(|ipcomp| (ipcomp.id(), middle));
        let around = self.around.iter().map(|around| (middle, around.id()));
        ipcomp.chain(around).collect()
    }
}

/// The SAs that have such; few do.
#[derive(Debug, Default)]
pub struct Companions(BTreeMap<Name, Companion>);

type Name = (SaProtocol, u32, IpAddr, IpAddr);

impl Companions {
    fn key(key: &SaKey) -> Name {
        (key.protocol, key.spi.0, key.src, key.dst)
    }

    /// Remembers.
    pub fn insert(&mut self, key: SaKey, companion: Companion) {
        self.0.insert(Self::key(&key), companion);
    }

    /// What belongs to this SA.
    pub fn get(&self, key: &SaKey) -> Option<&Companion> {
        self.0.get(&Self::key(key))
    }

    /// The SA in whose bundle this one stands beside it, as IPComp and AH may.
    pub fn middle_of(&self, id: &SaId) -> Option<SaKey> {
        if id.protocol == pfkey::Protocol::Esp {
            return None;
        }
        let has = |it: &Companion| {
            it.beside
                .iter()
                .any(|spec| (spec.protocol, spec.spi, spec.dst) == (id.protocol, id.spi, id.dst))
        };
        let found = self.0.iter().find(|(_, companion)| has(companion));
        found.map(|((protocol, spi, src, dst), _)| SaKey {
            protocol: *protocol,
            spi: EspSpi(*spi),
            src: *src,
            dst: *dst,
        })
    }

    /// Forgets.
    pub fn remove(&mut self, key: &SaKey) -> Option<Companion> {
        self.0.remove(&Self::key(key))
    }
}

/// Steps, each asked when the one before has succeeded.
#[derive(Debug, Default)]
pub struct Plan {
    steps: VecDeque<(Asked, Request)>,
    /// The SA that they add: should one fail, it goes, and what belongs to it.
    pub adds: Option<SaKey>,
    /// Whether it is there, which it is first.
    pub stands: bool,
    /// What is done in their place, should one fail.
    pub otherwise: Option<Box<Plan>>,
}

impl Plan {
    /// The next step.
    pub fn next(&mut self) -> Option<(Asked, Request)> {
        self.steps.pop_front()
    }

    /// Whether the step that was asked is the last.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// A step has succeeded.
    pub fn succeeded(&mut self, asked: &Asked) {
        self.stands |= matches!(asked, Asked::AddSa { .. });
    }

    fn step(mut self, asked: Asked, request: Request) -> Self {
        self.steps.push_back((asked, request));
        self
    }

    /// An SA and the others of its bundle.
    pub fn add(
        key: SaKey,
        sa: SaSpec,
        beside: &Beside,
        direction: Direction,
        behaviour: &Behaviour,
    ) -> Self {
        let whole = |direction| {
            let all = [&sa].into_iter().chain(beside.iter());
            let plan = Self { adds: Some(key), ..Self::default() };
            let plan = all.fold(plan, |plan, it| plan.one(it.clone(), direction, behaviour));
            let pairs = beside.pairs(sa.id());
            pairs.into_iter().fold(plan, |plan, pair| plan.grouped(pair, behaviour))
        };
        match direction {
            Direction::Out => whole(Direction::Out),
            // The larval SA may be gone since: it lives for half a minute.
            Direction::In if beside.is_empty() && !behaviour.larval_keeps_reqid => {
                let asked = Asked::AddSa { sa: sa.id(), outbound: false, check: false };
                let added = Self { adds: Some(key), ..Self::default() };
                let added = added.step(asked, Request::Add(Box::new(sa.clone())));
                Self { otherwise: Some(Box::new(added)), ..whole(Direction::In) }
            }
            Direction::In => whole(Direction::In),
        }
    }

    /// Inbound completes the larval SA of a GETSPI; where that has another reqid for good, it is
    /// replaced.
    fn one(self, sa: SaSpec, direction: Direction, behaviour: &Behaviour) -> Self {
        let id = sa.id();
        let outbound = direction == Direction::Out;
        let asked = Asked::AddSa { sa: id, outbound, check: false };
        let sa = Box::new(sa);
        match direction {
            Direction::Out => self.step(asked, Request::Add(sa)),
            Direction::In if behaviour.larval_keeps_reqid => {
                self.step(Asked::DeleteSa, Request::Delete(id)).step(asked, Request::Add(sa))
            }
            Direction::In => self.step(asked, Request::Update(sa)),
        }
    }

    /// Ties two SAs of a bundle together, where flows do not do that.
    fn grouped(self, (first, then): (SaId, SaId), behaviour: &Behaviour) -> Self {
        if !behaviour.groups {
            return self;
        }
        self.step(Asked::Group, Request::Group { first, then })
    }

    /// Moves an SA by what the kernel can do best.
    pub fn relocate(to: &SaMove, info: &SaInfo, behaviour: &Behaviour) -> Result<Self, String> {
        let again = Self::again(to, info);
        let new = translate::moved(to, info);
        let id = SaId { src: new.src, dst: new.dst, ..info.id };
        let moved = id != info.id;
        let switched = info.encap.is_some() != new.encap.is_some();
        let step = |told_to_all| Asked::Moved { counts_on: true, told_to_all };
        let here = match behaviour.moves {
            Moves::Never => return again,
            Moves::Update { encap } if switched && !encap => return again,
            Moves::Update { .. } => Self::default().step(step(false), Request::Move(Box::new(new))),
            // What is copied keeps its ports; whether there are any cannot change.
            Moves::Migrate if switched || (moved && new.selector.is_none()) => return again,
            Moves::Migrate => {
                let ports = new.encap != info.encap;
                let mut plan = Self::default();
                let encap = new.encap;
                if moved {
                    plan = plan.step(step(true), Request::Move(Box::new(new)));
                }
                if ports && let Some(mut spec) = info.to_spec() {
                    (spec.src, spec.dst, spec.encap) = (id.src, id.dst, encap);
                    plan = plan.step(step(false), Request::Update(Box::new(spec)));
                }
                plan
            }
        };
        if here.is_empty() {
            // Nothing changes; say so by asking for what is there.
            return Ok(here.step(step(false), Request::Get(info.id)));
        }
        Ok(Self { otherwise: again.ok().map(Box::new), ..here })
    }

    /// Makes an SA anew in another place, from what the kernel told of it.
    fn again(to: &SaMove, info: &SaInfo) -> Result<Self, String> {
        let keys = "the kernel does not tell the keys of an SA that must be made anew to move";
        let mut spec = info.to_spec().ok_or(keys)?;
        (spec.src, spec.dst) = (to.src, to.dst);
        spec.encap = to.encap.map(|(src_port, dst_port)| pfkey::Encap { src_port, dst_port });
        Ok(Self::default().replaced(info.id, spec, false))
    }

    fn replaced(self, old: SaId, new: SaSpec, counts_on: bool) -> Self {
        let moved = Asked::Moved { counts_on, told_to_all: false };
        self.step(Asked::DeleteSa, Request::Delete(old)).step(moved, Request::Add(Box::new(new)))
    }

    /// Then makes the other SAs of the bundle anew, where they are to be from `old` to `new`. IPComp has
    /// no sequence numbers; those of AH begin again.
    pub fn then_beside(
        mut self,
        (old, new): (&Beside, &Beside),
        middle: SaId,
        groups: bool,
    ) -> Self {
        let counts_on = self.counts_on() && new.around.is_none();
        let otherwise = self.otherwise.take();
        let both = old.iter().zip(new.iter());
        let mut plan =
            both.fold(self, |plan, (old, new)| plan.replaced(old.id(), new.clone(), counts_on));
        for (first, then) in new.pairs(middle).into_iter().filter(|_| groups) {
            let moved = Asked::Moved { counts_on, told_to_all: false };
            plan = plan.step(moved, Request::Group { first, then });
        }
        let otherwise =
            otherwise.map(|plan| Box::new(plan.then_beside((old, new), middle, groups)));
        Self { otherwise, ..plan }
    }

    fn counts_on(&self) -> bool {
        let last = self.steps.back();
        matches!(last, Some((Asked::Moved { counts_on: true, .. }, _)))
    }
}

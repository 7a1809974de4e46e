//! What the engine asks for and a kernel does in several steps.

use std::collections::{BTreeMap, VecDeque};

use pfkey::{Behaviour, Moves, Request, SaId, SaInfo, SaSpec};

use super::{Asked, translate};
use crate::ike::event::{Direction, SaKey, SaMove};

/// What belongs to an SA beyond its name.
#[derive(Debug, Clone)]
pub struct Companion {
    /// The rdomain by which the kernel finds it.
    pub rdomain: Option<u16>,
    /// The IPComp SA whose packets it protects.
    pub ipcomp: Option<Box<SaSpec>>,
}

/// The SAs that have such; few do.
#[derive(Debug, Default)]
pub struct Companions(BTreeMap<(u8, u32, std::net::IpAddr, std::net::IpAddr), Companion>);

impl Companions {
    fn key(key: &SaKey) -> (u8, u32, std::net::IpAddr, std::net::IpAddr) {
        (key.protocol as u8, key.spi.0, key.src, key.dst)
    }

    /// Remembers.
    pub fn insert(&mut self, key: SaKey, companion: Companion) {
        self.0.insert(Self::key(&key), companion);
    }

    /// What belongs to this SA.
    pub fn get(&self, key: &SaKey) -> Option<&Companion> {
        self.0.get(&Self::key(key))
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
    /// What takes back the steps that have succeeded, should a later one fail.
    pub undo: Vec<Request>,
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
    pub fn stands(&mut self, asked: &Asked) {
        if let Asked::AddSa { sa, .. } = asked {
            self.undo.push(Request::Delete(*sa));
        }
    }

    fn step(mut self, asked: Asked, request: Request) -> Self {
        self.steps.push_back((asked, request));
        self
    }

    /// An SA, and the IPComp SA whose packets it protects.
    pub fn add(
        sa: SaSpec,
        ipcomp: Option<SaSpec>,
        direction: Direction,
        behaviour: &Behaviour,
    ) -> Self {
        let whole = |direction| {
            let plan = Self::default().one(sa.clone(), direction, behaviour);
            match &ipcomp {
                Some(ipcomp) => {
                    let plan = plan.one(ipcomp.clone(), direction, behaviour);
                    plan.grouped(ipcomp.id(), sa.id(), behaviour)
                }
                None => plan,
            }
        };
        match direction {
            Direction::Out => whole(Direction::Out),
            // The larval SA may be gone since: it lives for half a minute.
            Direction::In if ipcomp.is_none() && !behaviour.larval_keeps_reqid => {
                let asked = Asked::AddSa { sa: sa.id(), outbound: false, check: false };
                let added = Self::default().step(asked, Request::Add(Box::new(sa.clone())));
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

    /// Ties IPComp to what protects its packets, where flows do not do that.
    fn grouped(self, first: SaId, then: SaId, behaviour: &Behaviour) -> Self {
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

    /// Then makes the IPComp SA anew, which has no numbers that could go on.
    pub fn then_ipcomp(mut self, old: SaId, new: &SaSpec, then: SaId, groups: bool) -> Self {
        let counts_on = self.counts_on();
        let otherwise = self.otherwise.take();
        let mut plan = self.replaced(old, new.clone(), counts_on);
        if groups {
            let moved = Asked::Moved { counts_on, told_to_all: false };
            plan = plan.step(moved, Request::Group { first: new.id(), then });
        }
        let otherwise = otherwise.map(|plan| Box::new(plan.then_ipcomp(old, new, then, groups)));
        Self { otherwise, ..plan }
    }

    fn counts_on(&self) -> bool {
        let last = self.steps.back();
        matches!(last, Some((Asked::Moved { counts_on: true, .. }, _)))
    }
}

//! A kernel that remembers what it was asked, and says no where a story wants it to.

use oakd::ike::event::*;
use oakd::wire::EspSpi;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// A kernel that remembers.
#[derive(Default)]
pub struct Kernel {
    pub larval: BTreeSet<(u32, IpAddr)>,
    pub sas: BTreeMap<(u32, IpAddr), KernelSa>,
    pub flows: HashMap<(Direction, KernelSelector), KernelFlow>,
    /// Whether SAs can be moved, and whether their sequence numbers go on then.
    pub moves: Option<bool>,
    pub packets: u64,
    pub bytes: u64,
    pub last_spi: u32,
    /// CPIs reserved, of SAs or for them.
    pub cpis: BTreeSet<u16>,
    /// The requests with these numbers (counted from 0) fail.
    pub fails: BTreeSet<usize>,
    pub requests: usize,
    /// What it was asked and should not have been.
    pub complaints: Vec<String>,
}

impl Kernel {
    pub fn answer(&mut self, request: KernelRequest) -> KernelAnswer {
        let number = self.requests;
        self.requests += 1;
        let fails = self.fails.contains(&number);
        match request {
            _ if fails => {
                // What could not be deleted was not there.
                match request {
                    KernelRequest::DeleteSa(key) => {
                        self.sas.remove(&(key.spi.0, key.dst));
                        self.larval.remove(&(key.spi.0, key.dst));
                    }
                    KernelRequest::DeleteFlow(flow) => {
                        self.flows.remove(&(flow.direction, flow.selector));
                    }
                    // The others of its bundle go with an SA that does not come.
                    KernelRequest::AddSa(sa) if sa.direction == Direction::In => {
                        if let Some(cpi) = sa.ipcomp {
                            self.cpis.remove(&cpi.0);
                        }
                        if let Some(around) = &sa.around {
                            self.larval.remove(&(around.spi.0, sa.key.dst));
                        }
                    }
                    _ => (),
                }
                return KernelAnswer::Failed(format!("request {number} fails"));
            }
            KernelRequest::GetSpi { dst, .. } => {
                self.last_spi += 1;
                let spi = 0x1000 + self.last_spi;
                self.larval.insert((spi, dst));
                return KernelAnswer::Spi(EspSpi(spi));
            }
            KernelRequest::AddSa(sa) => {
                let key = (sa.key.spi.0, sa.key.dst);
                if sa.direction == Direction::In && !self.larval.remove(&key) {
                    self.complaints.push(format!("inbound {key:?} was not reserved"));
                }
                if let (Direction::In, Some(cpi)) = (sa.direction, sa.ipcomp)
                    && !self.cpis.contains(&cpi.0)
                {
                    self.complaints.push(format!("inbound {cpi:?} was not reserved"));
                }
                if let (Direction::In, Some(around)) = (sa.direction, &sa.around)
                    && !self.larval.remove(&(around.spi.0, sa.key.dst))
                {
                    self.complaints.push(format!("inbound {:?} was not reserved", around.spi));
                }
                if self.sas.contains_key(&key) {
                    return KernelAnswer::Failed("File exists".into());
                }
                self.sas.insert(key, *sa);
            }
            KernelRequest::GetCpi { .. } => {
                self.last_spi += 1;
                let cpi = 0x100 + u16::try_from(self.last_spi % 0x8000).unwrap_or_default();
                self.cpis.insert(cpi);
                return KernelAnswer::Cpi(Cpi(cpi));
            }
            KernelRequest::DropCpi { cpi, .. } => {
                if !self.cpis.remove(&cpi.0) {
                    self.complaints.push(format!("{cpi:?} dropped but not reserved"));
                }
            }
            KernelRequest::MoveSa(_) if self.moves.is_none() => {
                return KernelAnswer::Failed("cannot be moved".into());
            }
            KernelRequest::MoveSa(to) => {
                let Some(mut sa) = self.sas.remove(&(to.key.spi.0, to.key.dst)) else {
                    self.complaints.push(format!("{:?} moved but not there", to.key));
                    return KernelAnswer::Failed("No such process".into());
                };
                (sa.key.src, sa.key.dst, sa.encap) = (to.src, to.dst, to.encap);
                self.sas.insert((sa.key.spi.0, sa.key.dst), sa);
                return KernelAnswer::Moved { counts_on: self.moves == Some(true) };
            }
            KernelRequest::DeleteSa(key) => {
                let key = (key.spi.0, key.dst);
                match self.sas.remove(&key) {
                    Some(KernelSa { direction: Direction::In, ipcomp: Some(cpi), .. }) => {
                        self.cpis.remove(&cpi.0);
                    }
                    Some(_) => (),
                    None if self.larval.remove(&key) => (),
                    None => self.complaints.push(format!("{key:?} deleted but not there")),
                }
            }
            KernelRequest::QuerySa(_) => {
                let (packets, bytes) = (self.packets, self.bytes);
                return KernelAnswer::Counters(SaCounters { packets, bytes, idle: None });
            }
            KernelRequest::AddFlow(flow) => {
                self.flows.insert((flow.direction, flow.selector), *flow);
            }
            KernelRequest::DeleteFlow(flow) => {
                if self.flows.remove(&(flow.direction, flow.selector)).is_none() {
                    self.complaints.push(format!("flow {flow:?} deleted but not there"));
                }
            }
        }
        KernelAnswer::Done
    }

    pub fn count(&self, direction: Direction) -> usize {
        self.sas.values().filter(|sa| sa.direction == direction).count()
    }
}

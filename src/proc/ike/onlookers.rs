//! What `oakctl` asks of the engine and sees of it.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{CONTROL, CONTROL_QUEUE, Ike, replace};
use crate::ike::event::{Command, Input};
use crate::ike::report::{self, Way};
use crate::ike::view::IkeKeys;
use crate::net::Datagram;
use crate::proc::Role;
use crate::proc::child::{Child, Fault, batch};
use crate::proc::message::{Asked, ClientId, Event, Packet, Reply, Show, Told, Watch, Whose};

/// Of how many peers the last failure is kept.
const MAX_FAILURES: usize = 256;
/// Of how many IKE SAs it is kept that their keys were told.
const MAX_KEYS_TOLD: usize = 4096;
/// How many items of a list go to a client before it has to ask for more.
const PAGE: usize = 32;

impl Ike {
    pub(super) fn asked(&mut self, child: &mut Child) -> Result<(), Fault> {
        let Some(link) = &mut self.control else { return Ok(()) };
        let (messages, end) = batch(link, &mut child.events, CONTROL);
        for (message, _) in messages {
            match message {
                Asked::Request(client, show) => {
                    let listing = self.listing(show);
                    self.listings.insert(client, listing);
                    self.page(child, client)?;
                }
                Asked::More(client) => self.page(child, client)?,
                Asked::Gone(client) => drop(self.listings.remove(&client)),
                Asked::Command(client, command) => {
                    let what = format!("{command:?}");
                    // The end is for the parent to say, and what onlookers see for `Watch`.
                    let reply = match command {
                        Command::Shutdown | Command::Trace(_) => Reply::Refused(what),
                        command => {
                            self.handle(Input::Command(command));
                            Reply::Done("ok".into())
                        }
                    };
                    self.tell(child, &Told::Reply(client, reply))?;
                }
                Asked::Watch(watch) => {
                    if watch == Watch::Keys && self.watch != Watch::Keys {
                        child.log.notice("keys of IKE SAs are handed to oakctl, as root asked for");
                    }
                    self.set_watch(watch);
                }
            }
        }
        if let Err(error) = end {
            replace(child, &mut self.control, None);
            self.listings.clear();
            self.set_watch(Watch::Nothing);
            child.lost(Role::Control, &error)?;
        }
        Ok(())
    }

    pub(super) fn set_watch(&mut self, watch: Watch) {
        self.watch = watch;
        // Whoever came has not seen what others have.
        self.keys_told.clear();
        self.handle(Input::Command(Command::Trace(watch >= Watch::Messages)));
    }

    /// Keeps the last failure of each peer; what succeeds since clears it.
    pub(super) fn remember(&mut self, event: &Event) {
        let report = &event.report;
        let peer = (report.policy.clone(), report.peer.map(|peer| peer.ip()));
        if peer == (None, None) {
            return;
        }
        if let report::Event::ChildEstablished { .. } = report.event {
            self.failures.remove(&(None, peer.1));
            self.failures.remove(&peer);
        }
        if !report.explains_failure() {
            return;
        }
        if self.failures.len() >= MAX_FAILURES && !self.failures.contains_key(&peer) {
            let oldest = self.failures.iter().min_by_key(|(_, event)| event.at);
            let oldest = oldest.map(|(peer, _)| peer.clone());
            oldest.and_then(|peer| self.failures.remove(&peer));
        }
        self.failures.insert(peer, event.clone());
    }

    /// Whose a datagram is, if anybody looks so closely.
    pub(super) fn whose(&self, datagram: &Datagram) -> Option<Whose> {
        if self.watch < Watch::Packets {
            return None;
        }
        let known = self.engine.whose(&datagram.octets);
        let (policy, identity) = known.map_or((None, None), |(name, id)| (Some(name), id));
        Some(Whose { remote: datagram.remote, policy, identity })
    }

    /// Shows a datagram, and the keys that open it to whoever asked for them.
    pub(super) fn show_packet(
        &mut self,
        child: &mut Child,
        way: Way,
        datagram: &Datagram,
        whose: Option<Whose>,
    ) -> Result<(), Fault> {
        let known = whose.filter(|whose| whose.policy.is_some());
        let Some(whose) = known.or_else(|| self.whose(datagram)) else { return Ok(()) };
        let room = self.control.as_ref().is_some_and(|link| link.queued() < CONTROL_QUEUE);
        if datagram.octets.is_empty() || !room {
            return Ok(());
        }
        if self.watch == Watch::Keys {
            self.show_keys(child, &datagram.octets, &whose)?;
        }
        let packet = Packet {
            at: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO),
            way,
            local: datagram.local,
            encap: datagram.local.port() == self.encap_port,
            whose,
            octets: datagram.octets.clone(),
        };
        self.tell(child, &Told::Packet(Box::new(packet)))
    }

    fn show_keys(&mut self, child: &mut Child, octets: &[u8], whose: &Whose) -> Result<(), Fault> {
        let Some(keys) = self.engine.keys(octets) else { return Ok(()) };
        let name = match &keys {
            IkeKeys::V1 { cookie, .. } => (cookie.clone(), String::new()),
            IkeKeys::V2 { spis, .. } => spis.clone(),
        };
        if self.keys_told.len() >= MAX_KEYS_TOLD {
            self.keys_told.clear();
        }
        match self.keys_told.insert(name) {
            true => self.tell(child, &Told::Keys(whose.clone(), Box::new(keys))),
            false => Ok(()),
        }
    }

    fn listing(&self, show: Show) -> VecDeque<Reply> {
        let mut list: VecDeque<Reply> = match show {
            Show::Sas => {
                let sas = self.engine.sas(self.now).into_iter();
                sas.map(|sa| Reply::Sa(Box::new(sa))).collect()
            }
            Show::Flows => {
                let flows = self.engine.flows().into_iter();
                flows.map(|flow| Reply::Flow(Box::new(flow.into()))).collect()
            }
            Show::Stats => [Reply::Stats(self.engine.stats())].into(),
            Show::Certs => {
                let certs = self.certs.iter().flatten().cloned();
                certs.map(|view| Reply::Cert(Box::new(view))).collect()
            }
            Show::Failures => self.failures.values().cloned().map(Reply::Event).collect(),
        };
        list.push_back(Reply::Done(String::new()));
        list
    }

    /// Some items of a client's list.
    fn page(&mut self, child: &mut Child, client: ClientId) -> Result<(), Fault> {
        let Some(list) = self.listings.get_mut(&client) else { return Ok(()) };
        let items: Vec<Reply> = list.drain(..list.len().min(PAGE)).collect();
        let more = !list.is_empty();
        if !more {
            self.listings.remove(&client);
        }
        for item in items {
            self.tell(child, &Told::Reply(client, item))?;
        }
        if more { self.tell(child, &Told::Pause(client)) } else { Ok(()) }
    }

    pub(super) fn tell(&mut self, child: &mut Child, message: &Told) -> Result<(), Fault> {
        let Some(link) = &mut self.control else { return Ok(()) };
        let Err(error) = link.send(message) else { return Ok(()) };
        replace(child, &mut self.control, None);
        child.lost(Role::Control, &error)
    }
}

//! Which addresses the machine has: `ike` is told at its start and whenever they change.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::{ADDRESSES, Parent};
use crate::log::Log;
use crate::net;
use crate::proc::Role;
use crate::proc::message::Down;
use crate::proc::poll::{BATCH, Loop};
use crate::sys;

/// How long after a change the addresses are looked at: changes come in flocks.
const SETTLE: Duration = Duration::from_millis(200);

/// Of how many peers the route is asked for.
const MOST_PEERS: usize = 64;

/// What is known of them.
#[derive(Debug)]
pub(super) struct Addresses {
    events: Option<OwnedFd>,
    told: Option<Vec<IpAddr>>,
    /// When they are to be looked at.
    pub due: Option<Instant>,
}

impl Addresses {
    /// Watches from now on, where the system lets us.
    pub fn watch(events: &mut Loop, log: &mut Log) -> Self {
        let opened = sys::address_events().and_then(|fd| {
            events.watch(&fd, ADDRESSES)?;
            Ok(fd)
        });
        if let Err(error) = &opened {
            log.notice(format!("changes of addresses will not be noticed: {error}"));
        }
        Self { events: opened.ok(), told: None, due: None }
    }

    /// Something happened to addresses, or to routes.
    pub fn ready(&mut self, events: &mut Loop) {
        let Some(fd) = &self.events else { return };
        let mut buffer = [0; 4096];
        for _ in 0..BATCH {
            let changed = match sys::recv(fd.as_fd(), &mut buffer) {
                Ok(received) => {
                    sys::is_address_event(buffer.get(..received.len).unwrap_or_default())
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // More happened than the socket could hold.
                Err(_) => true,
            };
            if changed {
                self.due.get_or_insert_with(|| Instant::now() + SETTLE);
            }
        }
        events.again(ADDRESSES);
    }

    /// Another `ike` knows nothing of them.
    pub fn forget(&mut self) {
        (self.told, self.due) = (None, Some(Instant::now()));
    }
}

impl Parent {
    /// When it is time, looks at the addresses and tells them, if they are others.
    pub(super) fn tell_addresses(&mut self) {
        if self.ending.is_some() || self.addresses.due.is_none_or(|due| Instant::now() < due) {
            return;
        }
        self.addresses.due = None;
        let policies = self.config.policies.iter();
        let peers = policies
            .filter_map(|policy| policy.peer.and_then(|peer| peer.as_host()))
            .take(MOST_PEERS);
        let locals = self.config.policies.iter().filter_map(|policy| policy.local);
        let named = locals.filter_map(|local| local.as_host()).collect();
        let mut now = net::addresses(peers, &named);
        // What a peer gave us is no way to reach peers.
        now.retain(|address| !self.host.has(*address));
        if self.addresses.told.as_ref() != Some(&now) {
            self.tell(Role::Ike, Down::Addresses(now.clone()));
            self.addresses.told = Some(now);
        }
    }
}

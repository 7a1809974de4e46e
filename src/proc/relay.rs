//! The process that holds the UDP sockets where `ike` may not name addresses itself: FreeBSD's
//! capability mode forbids sendto(2) with an address. It moves datagrams, and knows nothing of them.

use std::os::fd::OwnedFd;

use mio::Token;

use super::Role;
use super::child::{Child, Fault, Part, batch, claimed};
use super::imsg::{self, Link};
use super::message::Down;
use super::poll::BATCH;
use crate::net::{Datagram, Sockets, relay};

const IKE: Token = Token(1);
/// Sockets have the tokens from here on.
const SOCKETS: usize = 16;

/// The sockets, and the link to `ike`.
#[derive(Default)]
pub struct Relay {
    sockets: Sockets,
    ike: Option<Link<Datagram, Datagram>>,
}

impl Part for Relay {
    fn down(
        &mut self,
        child: &mut Child,
        message: Down,
        descriptor: Option<OwnedFd>,
    ) -> Result<(), Fault> {
        match message {
            Down::Peer(Role::Ike) => {
                self.drop_link(child);
                let link = Link::new(claimed(descriptor, "a link")?)?;
                child.events.watch(&link, IKE)?;
                self.ike = Some(link);
            }
            Down::Udp(spec) => {
                let fd = claimed(descriptor, "a socket")?;
                let index = self.sockets.len();
                child.events.watch(&fd, Token(SOCKETS + index))?;
                self.sockets.add(spec, fd);
            }
            other => return Err(Fault::Unexpected(format!("relay {other:?}"))),
        }
        Ok(())
    }

    fn ready(&mut self, child: &mut Child, token: Token) -> Result<(), Fault> {
        match token {
            IKE => self.outward(child),
            Token(number) => self.inward(child, number - SOCKETS),
        }
    }
}

impl Relay {
    /// From `ike` to the world.
    fn outward(&mut self, child: &mut Child) -> Result<(), Fault> {
        let Some(link) = &mut self.ike else { return Ok(()) };
        let (datagrams, end) = batch(link, &mut child.events, IKE);
        for (datagram, _) in datagrams {
            if let Err(error) = self.sockets.send(&datagram) {
                child.log.debug(format!("sending to {}: {error}", datagram.remote));
            }
        }
        self.ended(child, end)
    }

    /// From the world to `ike`.
    fn inward(&mut self, child: &mut Child, index: usize) -> Result<(), Fault> {
        for _ in 0..BATCH {
            let Some(datagram) = self.sockets.recv(index)? else { return Ok(()) };
            let Some(link) = &mut self.ike else { continue };
            match relay(link, &datagram) {
                Ok(()) => (),
                Err(imsg::Error::QueueFull) => child.log.debug("datagram dropped: ike is slow"),
                Err(error) => self.ended(child, Err(error))?,
            }
        }
        child.events.again(Token(SOCKETS + index));
        Ok(())
    }

    fn ended(&mut self, child: &mut Child, end: Result<(), imsg::Error>) -> Result<(), Fault> {
        let Err(error) = end else { return Ok(()) };
        self.drop_link(child);
        child.lost(Role::Ike, &error)
    }

    fn drop_link(&mut self, child: &mut Child) {
        if let Some(link) = self.ike.take() {
            child.events.forget(&link);
        }
    }
}

//! The process on the other side of oakctl(8): one request per connection, and what it is answered.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use mio::Token;

use super::Role;
use super::child::{Child, Fault, Part, batch, claimed};
use super::imsg::{self, Link};
use super::message::{Asked, ClientId, Down, MAX_REQUEST, Reply, Request, Told, Up, Watch};
use crate::ike::report::Level;

const IKE: Token = Token(1);
const LISTENER: Token = Token(2);
/// Clients have the tokens from here on.
const CLIENTS: usize = 16;

/// How many oakctl may be connected.
const MAX_CLIENTS: usize = 16;
/// How long a client may take to say what it wants, or to read what it is told.
const PATIENCE: Duration = Duration::from_secs(10);
/// With so many octets waiting for an onlooker, reports to it are dropped and counted.
const ONLOOKER_QUEUE: usize = 256 * 1024;

/// What a client is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has not said what it wants.
    New,
    /// `ike` is to answer.
    Ike,
    /// `ike` has more, when the client has read this.
    Paused,
    /// The parent is to answer.
    Parent,
    /// It looks on.
    Onlooker(Watch),
    /// It has the last reply, or will have when it reads.
    Done,
}

struct Client {
    link: Link<Reply, Request>,
    stage: Stage,
    /// Which peer it wants to hear of; nobody is everybody.
    whom: Option<String>,
    /// So many reports are missing.
    lost: u64,
    until: Option<Instant>,
}

/// The control socket and who is connected.
#[derive(Default)]
pub struct Control {
    listener: Option<UnixListener>,
    ike: Option<Link<Asked, Told>>,
    clients: BTreeMap<ClientId, Client>,
    next: u64,
}

impl Part for Control {
    fn down(
        &mut self,
        child: &mut Child,
        message: Down,
        descriptor: Option<OwnedFd>,
    ) -> Result<(), Fault> {
        match message {
            Down::Listener => {
                let listener = UnixListener::from(claimed(descriptor, "the control socket")?);
                child.events.watch(&listener, LISTENER)?;
                self.listener = Some(listener);
            }
            Down::Peer(Role::Ike) => {
                self.ike_is_gone(child);
                let link = Link::new(claimed(descriptor, "a link")?)?;
                child.events.watch(&link, IKE)?;
                self.ike = Some(link);
                self.tell_watch();
            }
            Down::Reloaded { client, outcome } => {
                let reply = outcome.map_or_else(Reply::Refused, Reply::Done);
                self.reply(child, client, &reply);
            }
            other => return Err(Fault::Unexpected(format!("control {other:?}"))),
        }
        Ok(())
    }

    fn ready(&mut self, child: &mut Child, token: Token) -> Result<(), Fault> {
        match token {
            IKE => self.told(child),
            LISTENER => self.accept(child),
            Token(number) => self.client_ready(child, ClientId((number - CLIENTS) as u64)),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.clients.values().filter_map(|client| client.until).min()
    }

    fn turn(&mut self, child: &mut Child) -> Result<(), Fault> {
        let now = Instant::now();
        let late = |client: &Client| client.until.is_some_and(|until| until <= now);
        let ids: Vec<ClientId> =
            self.clients.iter().filter(|(_, c)| late(c)).map(|(id, _)| *id).collect();
        for id in ids {
            child.log.debug("a control client took too long and was dropped");
            self.drop_client(child, id)?;
        }
        Ok(())
    }
}

impl Control {
    // ---- clients ----

    fn accept(&mut self, child: &mut Child) -> Result<(), Fault> {
        let Some(listener) = &self.listener else { return Ok(()) };
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(()),
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => continue,
                    _ => {
                        child.log.error(format!("accepting a control client: {error}"));
                        return Ok(());
                    }
                },
            };
            let mut link = Link::with_limit(stream.into(), imsg::MAX_LENGTH)?;
            link.limit_received(MAX_REQUEST);
            if self.clients.len() >= MAX_CLIENTS {
                let text = format!("{MAX_CLIENTS} control clients are connected already");
                // It may be gone already.
                let _ = link.send(&Reply::Refused(text));
                continue;
            }
            let id = ClientId(self.next);
            self.next += 1;
            child.events.watch(&link, client_token(id))?;
            let until = Some(Instant::now() + PATIENCE);
            self.clients.insert(id, Client { link, stage: Stage::New, whom: None, lost: 0, until });
        }
    }

    fn client_ready(&mut self, child: &mut Child, id: ClientId) -> Result<(), Fault> {
        let Some(client) = self.clients.get_mut(&id) else { return Ok(()) };
        let (requests, end) = batch(&mut client.link, &mut child.events, client_token(id));
        for (request, _) in requests {
            let Some(client) = self.clients.get(&id) else { return Ok(()) };
            if client.stage != Stage::New {
                child.log.notice("a control client was dropped: it asked for more than one thing");
                return self.drop_client(child, id);
            }
            self.request(child, id, request)?;
        }
        match end {
            Ok(()) => (),
            Err(imsg::Error::Closed) => return self.drop_client(child, id),
            Err(error) => {
                child.log.notice(format!("a control client was dropped: it sent {error}"));
                return self.drop_client(child, id);
            }
        }
        self.drained(child, id)
    }

    /// What follows when a client has read everything.
    fn drained(&mut self, child: &mut Child, id: ClientId) -> Result<(), Fault> {
        let Some(client) = self.clients.get_mut(&id) else { return Ok(()) };
        if client.link.queued() > 0 {
            return Ok(());
        }
        match client.stage {
            Stage::Done => self.drop_client(child, id),
            Stage::Paused => {
                client.stage = Stage::Ike;
                client.until = None;
                self.ask(child, id, Asked::More(id));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn request(&mut self, child: &mut Child, id: ClientId, request: Request) -> Result<(), Fault> {
        let Some(client) = self.clients.get_mut(&id) else { return Ok(()) };
        client.until = None;
        match request {
            Request::Show(show) => {
                client.stage = Stage::Ike;
                self.ask(child, id, Asked::Request(id, show));
            }
            Request::Command(command) => {
                client.stage = Stage::Ike;
                self.ask(child, id, Asked::Command(id, command));
            }
            Request::Monitor { watch, whom } => {
                client.stage = Stage::Onlooker(watch);
                client.whom = whom;
                self.tell_watch();
            }
            Request::Reload => {
                client.stage = Stage::Parent;
                child.parent.send(&Up::Reload(id)).map_err(Fault::Parent)?;
            }
            Request::Detail(detail) => {
                child.parent.send(&Up::Detail(detail)).map_err(Fault::Parent)?;
                self.reply(child, id, &Reply::Done("ok".into()));
            }
        }
        Ok(())
    }

    /// Sends one reply; the last one ends the connection when it has been read.
    fn reply(&mut self, child: &mut Child, id: ClientId, reply: &Reply) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if let Reply::Done(_) | Reply::Refused(_) = reply {
            client.stage = Stage::Done;
            client.until = Some(Instant::now() + PATIENCE);
        }
        match client.link.send(reply) {
            Ok(()) => (),
            Err(imsg::Error::Closed) => client.stage = Stage::Done,
            Err(error) => {
                child.log.error(format!("telling a control client: {error}"));
                client.stage = Stage::Done;
            }
        }
        child.events.again(client_token(id));
    }

    fn drop_client(&mut self, child: &mut Child, id: ClientId) -> Result<(), Fault> {
        let Some(client) = self.clients.remove(&id) else { return Ok(()) };
        child.events.forget(&client.link);
        match client.stage {
            Stage::Ike | Stage::Paused => self.ask(child, id, Asked::Gone(id)),
            Stage::Onlooker(_) => self.tell_watch(),
            _ => (),
        }
        Ok(())
    }

    // ---- the engine's side ----

    fn told(&mut self, child: &mut Child) -> Result<(), Fault> {
        let Some(link) = &mut self.ike else { return Ok(()) };
        let (messages, end) = batch(link, &mut child.events, IKE);
        for (message, _) in messages {
            match message {
                Told::Reply(id, reply) => self.reply(child, id, &reply),
                Told::Pause(id) => {
                    if let Some(client) = self.clients.get_mut(&id) {
                        client.stage = Stage::Paused;
                        client.until = Some(Instant::now() + PATIENCE);
                        child.events.again(client_token(id));
                    }
                }
                Told::Report(event) => {
                    let closely = match event.report.level() {
                        Level::Trace => Watch::Messages,
                        _ => Watch::Reports,
                    };
                    let reply = Reply::Event(event.clone());
                    self.broadcast(closely, |whom| event.report.concerns(whom), &reply);
                }
                Told::Packet(packet) => {
                    let reply = Reply::Packet(packet.clone());
                    self.broadcast(Watch::Packets, |whom| packet.whose.is(whom), &reply);
                }
                Told::Keys(whose, keys) => {
                    let reply = Reply::Keys(keys);
                    self.broadcast(Watch::Keys, |whom| whose.is(whom), &reply);
                }
            }
        }
        if let Err(error) = end {
            self.ike_is_gone(child);
            child.lost(Role::Ike, &error)?;
        }
        Ok(())
    }

    /// Something for everybody who looks on so closely and wants to hear of this peer.
    fn broadcast(&mut self, closely: Watch, concerns: impl Fn(&str) -> bool, reply: &Reply) {
        for client in self.clients.values_mut() {
            let Stage::Onlooker(watch) = client.stage else { continue };
            if watch < closely || client.whom.as_deref().is_some_and(|whom| !concerns(whom)) {
                continue;
            }
            if client.link.queued() > ONLOOKER_QUEUE {
                client.lost += 1;
                continue;
            }
            // A client that is gone is noticed when it is read.
            if client.lost > 0 && client.link.send(&Reply::Lost(client.lost)).is_ok() {
                client.lost = 0;
            }
            let _ = client.link.send(reply);
        }
    }

    fn ask(&mut self, child: &mut Child, id: ClientId, message: Asked) {
        let sent = match &mut self.ike {
            None => Err(imsg::Error::Closed),
            Some(link) => link.send(&message),
        };
        if let Err(error) = sent {
            let text = format!("the ike process does not answer ({error}); try again in a moment");
            self.reply(child, id, &Reply::Refused(text));
        }
    }

    /// Tells `ike` how closely anybody looks on.
    fn tell_watch(&mut self) {
        let watched = self.clients.values().filter_map(|client| match client.stage {
            Stage::Onlooker(watch) => Some(watch),
            _ => None,
        });
        let watch = watched.max().unwrap_or_default();
        if let Some(link) = &mut self.ike {
            // If it broke, reading it will tell; another `ike` is told when it comes.
            let _ = link.send(&Asked::Watch(watch));
        }
    }

    /// Whoever waits for `ike` waits in vain.
    fn ike_is_gone(&mut self, child: &mut Child) {
        let Some(link) = self.ike.take() else { return };
        child.events.forget(&link);
        let waits = |client: &Client| matches!(client.stage, Stage::Ike | Stage::Paused);
        let ids: Vec<ClientId> =
            self.clients.iter().filter(|(_, c)| waits(c)).map(|(id, _)| *id).collect();
        for id in ids {
            let text = "the ike process died meanwhile; it is being started again".to_owned();
            self.reply(child, id, &Reply::Refused(text));
        }
    }
}

fn client_token(id: ClientId) -> Token {
    Token(CLIENTS + id.0 as usize)
}

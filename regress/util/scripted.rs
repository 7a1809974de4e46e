//! A road to a scripted kernel, for whatever asks a kernel.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::cell::RefCell;
use std::rc::Rc;

use oakd::kernel::{Link, Refusal};
use pfkey::scripted::{Kernel, SocketId};
use pfkey::{Behaviour, Dialect, Incoming, MessageType, Request};

/// A process's socket to a scripted kernel, which it may share with others.
#[derive(Clone)]
pub struct Road {
    pub kernel: Rc<RefCell<Kernel>>,
    pub socket: SocketId,
    pub dialect: &'static Dialect,
    pub pid: u32,
    /// What was asked, for the test to look at.
    pub asked: Rc<RefCell<Vec<Request>>>,
}

impl Road {
    pub fn new(dialect: &str, pid: u32) -> Self {
        let dialect = Dialect::by_name(dialect).unwrap();
        let mut kernel = Kernel::new(dialect);
        let socket = kernel.open(pid);
        Self { kernel: Rc::new(RefCell::new(kernel)), socket, dialect, pid, asked: Rc::default() }
    }

    /// Names of the messages asked since the last call.
    pub fn names(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.asked.borrow_mut());
        let name = |request: &Request| {
            let text = format!("{request:?}");
            text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
        };
        asked.iter().map(name).collect()
    }
}

impl Link for Road {
    fn ask(&mut self, seq: u32, request: &Request) -> Result<u32, Refusal> {
        self.asked.borrow_mut().push(request.clone());
        let packets = self
            .dialect
            .compose(request, seq, self.pid)
            .map_err(|error| Refusal { errno: None, reason: error.to_string() })?;
        for packet in &packets {
            self.kernel.borrow_mut().write(self.socket, packet).map_err(|errno| Refusal {
                errno: Some(errno.into()),
                reason: format!("errno {errno}"),
            })?;
        }
        Ok(packets.len() as u32)
    }

    fn next(&mut self) -> Option<Result<Incoming, String>> {
        let packet = self.kernel.borrow_mut().read(self.socket)?;
        Some(self.dialect.interpret(&packet).map_err(|error| error.to_string()))
    }

    fn pid(&self) -> u32 {
        self.pid
    }

    fn behaviour(&self) -> &Behaviour {
        &self.dialect.behaviour
    }
}

/// What the kernel holds, understood.
pub fn sas(road: &Road) -> Vec<pfkey::SaInfo> {
    let mut kernel = road.kernel.borrow_mut();
    let socket = kernel.open(road.pid);
    let mut found = Vec::new();
    for packet in road.dialect.compose(&Request::Dump(None), 1, road.pid).unwrap() {
        let _ = kernel.write(socket, &packet);
    }
    while let Some(packet) = kernel.read(socket) {
        if let Ok(Incoming::Reply(reply)) = road.dialect.interpret(&packet)
            && reply.message == MessageType::Dump
            && let pfkey::ReplyData::SaInfo(info) = reply.data
        {
            found.push(*info);
        }
    }
    found
}

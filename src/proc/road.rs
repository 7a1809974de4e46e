//! The engine's kernel: the one that runs, one that is pretended (`set decouple`), or none yet.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use pfkey::{Dialect, Socket};

use crate::crypto::{Random, SystemRandom};
use crate::ike::event::{
    Capabilities, Input, KernelAnswer, KernelRequest, RequestId, SaCounters, Selects, Time,
};
use crate::kernel::{Kernel, Left, Link, Note, PfKey};
use crate::wire::EspSpi;
use crate::wire::iana::v2::{EncryptionId, IntegrityId};

/// SPIs from here on may be used (RFC 4303 section 2.1).
const FIRST_SPI: u32 = 256;

/// Where the engine's kernel requests go.
pub enum Road {
    /// Nowhere yet.
    None,
    /// Every request is answered as if it had been done.
    Pretended(VecDeque<Input<'static>>),
    /// The kernel; and whether it has said what it can do.
    Real(Box<Kernel<PfKey>>, bool),
}

impl Road {
    /// A kernel that takes everything and does nothing.
    pub fn pretended() -> Self {
        Self::Pretended([Input::Capabilities(everything())].into())
    }

    /// The kernel behind a PF_KEY socket that the parent opened, and what it speaks; `rdomain` is that
    /// of the daemon's other sockets.
    pub fn open(fd: OwnedFd, dialect: &str, rdomain: u16) -> io::Result<Self> {
        let unknown = || io::Error::other(format!("no dialect of PF_KEY is called {dialect}"));
        let dialect = Dialect::by_name(dialect).ok_or_else(unknown)?;
        let road = PfKey::new(Socket::from_fd(fd)?, dialect);
        Ok(Self::Real(Box::new(Kernel::new(road).in_rdomain(rdomain)), false))
    }

    /// Whether the engine has been told what the kernel can do.
    pub fn is_known(&self) -> bool {
        match self {
            Self::None => false,
            Self::Pretended(waiting) => waiting.is_empty(),
            Self::Real(_, known) => *known,
        }
    }

    /// Learns what the kernel can do and what an earlier run left, which has kept some of it.
    pub fn start(&mut self, now: Time, left: Vec<Left>) {
        if let Self::Real(kernel, _) = self {
            kernel.earlier(left);
            kernel.start(now);
        }
    }

    /// The next change of what is to be kept for a later run.
    pub fn note(&mut self) -> Option<Note> {
        match self {
            Self::Real(kernel, _) => kernel.note(),
            Self::None | Self::Pretended(_) => None,
        }
    }

    /// Asks the kernel for the engine.
    pub fn request(&mut self, now: Time, id: RequestId, request: KernelRequest) {
        let answer = match self {
            Self::Real(kernel, _) => return kernel.request(now, id, request),
            _ => pretend(&request),
        };
        if let Self::Pretended(waiting) = self {
            waiting.push_back(Input::Kernel(id, answer));
        }
    }

    /// Reads everything that the kernel has said.
    pub fn readable(&mut self, now: Time) {
        if let Self::Real(kernel, _) = self {
            kernel.readable(now);
        }
    }

    /// Whether there is no way to the kernel any more.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Real(kernel, _) if kernel.link().is_closed())
    }

    /// The next thing to tell the engine.
    pub fn poll(&mut self) -> Option<Input<'static>> {
        match self {
            Self::None => None,
            Self::Pretended(waiting) => waiting.pop_front(),
            Self::Real(kernel, known) => {
                let input = kernel.poll();
                *known |= matches!(input, Some(Input::Capabilities(_)));
                input
            }
        }
    }

    /// When [`Road::timeout`] is to be called.
    pub fn next_timeout(&self) -> Option<Time> {
        match self {
            Self::Real(kernel, _) => kernel.next_timeout(),
            _ => None,
        }
    }

    /// Looks after answers that did not come.
    pub fn timeout(&mut self, now: Time) {
        if let Self::Real(kernel, _) = self {
            kernel.timeout(now);
        }
    }

    /// Whether the kernel has not yet told all that an earlier run left.
    pub fn is_searching(&self) -> bool {
        matches!(self, Self::Real(kernel, _) if kernel.is_searching())
    }

    /// Removes what an earlier run left and nobody took over: the daemon ends.
    pub fn sweep(&mut self, now: Time) {
        if let Self::Real(kernel, _) = self {
            kernel.sweep(now);
        }
    }
}

fn pretend(request: &KernelRequest) -> KernelAnswer {
    match request {
        KernelRequest::GetSpi { .. } => {
            let mut octets = [0; 4];
            SystemRandom.fill(&mut octets);
            KernelAnswer::Spi(EspSpi(u32::from_be_bytes(octets).max(FIRST_SPI)))
        }
        KernelRequest::GetCpi { .. } => KernelAnswer::Failed("there is no kernel".into()),
        KernelRequest::MoveSa(_) => KernelAnswer::Moved { counts_on: true },
        KernelRequest::QuerySa(_) => KernelAnswer::Counters(SaCounters::default()),
        _ => KernelAnswer::Done,
    }
}

/// Everything that a policy can name and key material can be cut for.
fn everything() -> Capabilities {
    let aes = || vec![128, 192, 256];
    Capabilities {
        encryption: vec![
            (EncryptionId::ENCR_AES_GCM_16, aes()),
            (EncryptionId::ENCR_AES_GCM_12, aes()),
            (EncryptionId::ENCR_AES_GCM_8, aes()),
            (EncryptionId::ENCR_CHACHA20_POLY1305, vec![256]),
            (EncryptionId::ENCR_AES_CBC, aes()),
            (EncryptionId::ENCR_AES_CTR, aes()),
        ],
        integrity: vec![
            IntegrityId::AUTH_HMAC_SHA2_512_256,
            IntegrityId::AUTH_HMAC_SHA2_384_192,
            IntegrityId::AUTH_HMAC_SHA2_256_128,
            IntegrityId::AUTH_HMAC_SHA1_96,
        ],
        esn: true,
        one_family: false,
        selects: Selects { protocols: (1..=u8::MAX).collect(), masks: true },
        remarks: Vec::new(),
    }
}

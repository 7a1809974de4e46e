//! A live SA's other addresses and ports.

use super::{ComposeError, Composer, MATURE, kame_mode};
use crate::codec::{Packet, Sockaddr};
use crate::dialect::{ExtType, MessageType, Moves, kame};
use crate::ext::{Ext, IpsecRequest, Policy, Sa};
use crate::message::Builder;
use crate::policy::Direction;
use crate::request::{Encap, Move};
use std::net::{IpAddr, SocketAddr};

impl Composer {
    /// Gives an SA other addresses or ports.
    pub(super) fn moved(&self, to: &Move) -> Result<Vec<Packet>, ComposeError> {
        let families = [to.id.src, to.id.dst, to.src, to.dst].map(|addr| addr.is_ipv4());
        if families.iter().any(|ipv4| *ipv4 != families[0]) {
            return Err(ComposeError::Unsupported("moving an SA to the other address family"));
        }
        match self.dialect.behaviour.moves {
            Moves::Update { encap: true } => self.freebsd_move(to),
            Moves::Update { encap: false } => self.openbsd_move(to),
            Moves::Migrate => self.migrate(to),
            Moves::Never => Err(ComposeError::Unsupported("moving an SA")),
        }
    }

    /// The SA is found by its destination; SRC is the new source, PROXY the new destination.
    fn openbsd_move(&self, to: &Move) -> Result<Vec<Packet>, ComposeError> {
        let mut m = self.update(to)?;
        m.push(ExtType::AddressSrc, &self.host(to.src));
        m.push(ExtType::AddressDst, &self.host(to.id.dst));
        if to.dst != to.id.dst {
            m.push(ExtType::AddressProxy, &self.host(to.dst));
        }
        if let Some(Encap { src_port, dst_port }) = to.encap {
            let peer = if to.direction == Direction::In { src_port } else { dst_port };
            m.push(ExtType::UdpEncap, &Ext::UdpEncap(peer));
        }
        self.rdomain(&mut m, to.id.rdomain.map(|d| (d, d)))?;
        Ok(vec![m.finish()])
    }

    fn freebsd_move(&self, to: &Move) -> Result<Vec<Packet>, ComposeError> {
        let mut m = self.update(to)?;
        m.push(ExtType::Sa2, &self.sa2(to.mode, to.reqid));
        self.lifetimes(&mut m, &to.hard, &to.soft);
        m.push(ExtType::AddressSrc, &self.host(to.id.src));
        m.push(ExtType::AddressDst, &self.host(to.id.dst));
        // Without ports there must be new addresses, even if they are the old ones.
        if (to.src, to.dst) != (to.id.src, to.id.dst) || to.encap.is_none() {
            m.push(ExtType::NewAddressSrc, &self.host(to.src));
            m.push(ExtType::NewAddressDst, &self.host(to.dst));
        }
        if let Some(Encap { src_port, dst_port }) = to.encap {
            m.push(ExtType::NatTType, &Ext::NatTType(kame::NAT_T_ESP_IN_UDP));
            m.push(ExtType::NatTSport, &Ext::NatTPort(src_port));
            m.push(ExtType::NatTDport, &Ext::NatTPort(dst_port));
        }
        Ok(vec![m.finish()])
    }

    /// MIGRATE names the flow by its selector, and the SAs by pairs of requests: old, new.
    fn migrate(&self, to: &Move) -> Result<Vec<Packet>, ComposeError> {
        let selector = to.selector.ok_or(ComposeError::Contradiction(
            "an SA is moved by its flow's selector, and there is none",
        ))?;
        let protocol =
            to.id.protocol.ip_protocol().ok_or(ComposeError::Protocol(to.id.protocol))?;
        let address = |addr: IpAddr| Sockaddr::Ip(SocketAddr::new(addr, 0));
        let request = |src, dst| IpsecRequest {
            protocol: protocol.into(),
            mode: kame_mode(to.mode),
            level: kame::LEVEL_UNIQUE as u8,
            reqid: to.reqid,
            src: address(src),
            dst: address(dst),
        };
        let pair = [request(to.id.src, to.id.dst), request(to.src, to.dst)];
        let direction = match to.direction {
            Direction::In => kame::DIR_IN,
            Direction::Out => kame::DIR_OUT,
        };
        let mut m = self.begin(MessageType::Migrate, 0);
        let (src, dst) = super::flow::selector_sides(&selector)?;
        m.push(ExtType::AddressSrc, &src);
        m.push(ExtType::AddressDst, &dst);
        let policy = Policy::plain(kame::POLICY_IPSEC as u16, direction as u8).with(&pair);
        m.push(ExtType::Policy, &Ext::Policy(policy));
        Ok(vec![m.finish()])
    }

    fn update(&self, to: &Move) -> Result<Builder, ComposeError> {
        let mut m = self.begin(MessageType::Update, self.sa_type(Some(to.id.protocol))?);
        let sa = Sa { spi: to.id.spi.0, state: MATURE, ..Sa::default() };
        m.push(ExtType::Sa, &Ext::Sa(sa));
        Ok(m)
    }
}

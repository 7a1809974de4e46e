//! Flows and kernel policies.

use super::{ComposeError, Composer, kame_mode};
use crate::codec::{Packet, Sockaddr};
use crate::dialect::{ExtType, FlowStyle, MessageType, PolicyStyle, kame, linux, openbsd};
use crate::ext::{Address, Ext, IpsecRequest, Policy};
use crate::message::{Builder, Header};
use crate::policy::{Direction, Flow, FlowKind, Mode, Port, Prefix, Selector};
use std::net::SocketAddr;

impl Composer {
    /// Puts a flow in, or takes it out.
    pub(super) fn flow(&self, add: bool, flow: &Flow) -> Result<Vec<Packet>, ComposeError> {
        if flow.selector.src.addr.is_ipv4() != flow.selector.dst.addr.is_ipv4() {
            return Err(ComposeError::Contradiction("selector between IPv4 and IPv6"));
        }
        match self.dialect.flows {
            FlowStyle::Flows => self.openbsd_flow(add, flow),
            FlowStyle::Policies(style) => self.kame_flow(add, flow, style),
        }
    }

    /// The flow of an ACQUIRE.
    pub(super) fn flow_of(&self, id: u32) -> Result<Vec<Packet>, ComposeError> {
        let mut m;
        match self.dialect.flows {
            FlowStyle::Flows => {
                m = self.begin(MessageType::AskPolicy, 0);
                m.push(ExtType::PolicyOpenBsd, &Ext::AskedPolicy(id));
            }
            FlowStyle::Policies(_) => {
                m = self.begin(MessageType::SpdGet, 0);
                let policy = Policy::by_id(id);
                m.push(ExtType::Policy, &Ext::Policy(policy));
            }
        }
        Ok(vec![m.finish()])
    }

    fn openbsd_flow(&self, add: bool, flow: &Flow) -> Result<Vec<Packet>, ComposeError> {
        let message = if add { MessageType::AddFlow } else { MessageType::DelFlow };
        let transform = flow.transforms.first();
        let sa_type = match transform {
            Some(t) => self.sa_type(Some(t.protocol))?,
            None => 0,
        };
        let mut m = self.begin(message, sa_type);
        // DELFLOW refuses the gateways that ADDFLOW takes.
        if add && let Some((src, dst)) = transform.and_then(|t| t.endpoints) {
            // Here they are ours and the peer's, whichever way the packets go.
            let (local, peer) = match flow.direction {
                Direction::Out => (src, dst),
                Direction::In => (dst, src),
            };
            m.push(ExtType::AddressSrc, &self.host(local));
            m.push(ExtType::AddressDst, &self.host(peer));
        }
        let kind = match flow.kind {
            FlowKind::Use => openbsd::FLOW_USE,
            FlowKind::Acquire => openbsd::FLOW_ACQUIRE,
            FlowKind::Require => openbsd::FLOW_REQUIRE,
            FlowKind::Bypass => openbsd::FLOW_BYPASS,
            FlowKind::Deny => openbsd::FLOW_DENY,
            FlowKind::DontAcquire => openbsd::FLOW_DONTACQ,
        };
        self.openbsd_selector(&mut m, &flow.selector, kind, flow.direction)?;
        if let Some((ours, theirs)) = &flow.identities
            && add
        {
            self.identities(&mut m, ours, theirs);
        }
        self.rdomain(&mut m, flow.rdomain.map(|d| (d, d)))?;
        Ok(vec![m.finish()])
    }

    fn kame_flow(
        &self,
        add: bool,
        flow: &Flow,
        style: PolicyStyle,
    ) -> Result<Vec<Packet>, ComposeError> {
        let mut directions = match flow.direction {
            Direction::In => vec![kame::DIR_IN],
            Direction::Out => vec![kame::DIR_OUT],
        };
        let tunnel = flow.transforms.iter().any(|t| t.mode == Mode::Tunnel);
        let clear = matches!(flow.kind, FlowKind::Bypass | FlowKind::Deny);
        if style.forward && flow.direction == Direction::In && (tunnel || clear) {
            directions.push(linux::DIR_FORWARD);
        }
        directions
            .into_iter()
            .zip(0..)
            .map(|(direction, n)| self.kame_policy(add, flow, style, direction, n))
            .collect()
    }

    fn kame_policy(
        &self,
        add: bool,
        flow: &Flow,
        style: PolicyStyle,
        direction: u32,
        nth: u32,
    ) -> Result<Packet, ComposeError> {
        if flow.rdomain.is_some() {
            return Err(ComposeError::Unsupported("routing domains"));
        }
        let kind = match flow.kind {
            FlowKind::Use | FlowKind::Acquire | FlowKind::Require => kame::POLICY_IPSEC,
            FlowKind::Bypass => kame::POLICY_NONE,
            FlowKind::Deny => kame::POLICY_DISCARD,
            FlowKind::DontAcquire => {
                return Err(ComposeError::Unsupported("flows that drop and do not ask"));
            }
        };
        // UPDATE puts a policy in as ADD does, and replaces one with the same selector.
        let message = if add { MessageType::SpdUpdate } else { MessageType::SpdDelete };
        let header = Header {
            message,
            errno: 0,
            sa_type: 0,
            reserved: 0,
            seq: self.seq.wrapping_add(nth),
            pid: self.pid,
        };
        let mut m = Builder::new(self.dialect, header);
        let s = &flow.selector;
        let (src, dst) = selector_sides(s)?;
        m.push(ExtType::AddressSrc, &src);
        m.push(ExtType::AddressDst, &dst);
        let requests =
            if add && kind == kame::POLICY_IPSEC { self.requests(flow)? } else { Vec::new() };
        let mut policy = Policy::plain(kind as u16, direction as u8).with(&requests);
        if style.priority {
            policy.priority = flow.priority;
        }
        m.push(ExtType::Policy, &Ext::Policy(policy));
        Ok(m.finish())
    }

    fn requests(&self, flow: &Flow) -> Result<Vec<IpsecRequest<'static>>, ComposeError> {
        if flow.transforms.is_empty() {
            return Err(ComposeError::Contradiction("a flow that protects with nothing"));
        }
        flow.transforms
            .iter()
            .map(|t| {
                let protocol =
                    t.protocol.ip_protocol().ok_or(ComposeError::Protocol(t.protocol))?;
                if t.reqid > self.dialect.behaviour.reqid_max {
                    return Err(ComposeError::Unsupported("a reqid as large as this"));
                }
                if t.mode == Mode::Tunnel && t.endpoints.is_none() {
                    return Err(ComposeError::Contradiction("a tunnel without endpoints"));
                }
                let level = match flow.kind {
                    _ if t.optional => kame::LEVEL_USE,
                    FlowKind::Use | FlowKind::Acquire => kame::LEVEL_USE,
                    _ if t.reqid != 0 => kame::LEVEL_UNIQUE,
                    _ => kame::LEVEL_REQUIRE,
                };
                let (src, dst) = match t.endpoints {
                    Some((src, dst)) => (
                        Sockaddr::Ip(SocketAddr::new(src, 0)),
                        Sockaddr::Ip(SocketAddr::new(dst, 0)),
                    ),
                    None => (Sockaddr::Absent, Sockaddr::Absent),
                };
                Ok(IpsecRequest {
                    protocol: protocol.into(),
                    mode: kame_mode(t.mode),
                    level: level as u8,
                    reqid: t.reqid,
                    src,
                    dst,
                })
            })
            .collect()
    }
}

/// A selector as KAME has it in SRC and DST.
pub(super) fn selector_sides(s: &Selector) -> Result<(Ext<'static>, Ext<'static>), ComposeError> {
    let src = selector_side(s.protocol, s.src, s.src_port)?;
    Ok((src, selector_side(s.protocol, s.dst, s.dst_port)?))
}

fn selector_side(protocol: u8, prefix: Prefix, port: Port) -> Result<Ext<'static>, ComposeError> {
    if port.mask != 0 && port.mask != 0xffff {
        return Err(ComposeError::Unsupported("ranges of ports"));
    }
    if port.mask == 0xffff && port.port == 0 {
        return Err(ComposeError::Unsupported("port 0 alone, as it is any"));
    }
    let proto = if protocol == 0 { kame::PROTO_ANY as u8 } else { protocol };
    let addr = SocketAddr::new(prefix.masked().addr, port.port & port.mask);
    Ok(Ext::Address(Address { proto, prefix: prefix.len, addr: Sockaddr::Ip(addr) }))
}

//! Flows and kernel policies as told by the kernel.

use super::{address, identities, kame_mode, prefix, rdomain};
use crate::alg::Protocol;
use crate::dialect::{ExtType, FlowStyle, MessageType, kame, linux, openbsd};
use crate::event::FlowInfo;
use crate::ext::{Ext, Policy};
use crate::message::{Message, ParseError};
use crate::policy::{Direction, Flow, FlowKind, Mode, Port, Prefix, Selector, Transform};

/// The flow in a message; `None` when the message tells of none.
pub(super) fn flow_info(m: &Message<'_>) -> Result<Option<FlowInfo>, ParseError> {
    match m.dialect().flows {
        FlowStyle::Flows => Ok(openbsd_flow(m)),
        FlowStyle::Policies(_) => match m.get(ExtType::Policy) {
            Some(Ext::Policy(policy)) => Ok(kame_flow(m, &policy)),
            _ => Ok(None),
        },
    }
}

/// The six extensions of OpenBSD; ASKPOLICY's answer has the protocol in another place.
pub(super) fn openbsd_selector(m: &Message<'_>) -> Option<Selector> {
    let side = |flow, mask| {
        let (flow, mask) = (address(m, flow)?, address(m, mask)?);
        let len = Prefix::len_of_mask(mask.ip())?;
        Some((prefix(flow.ip(), len), Port { port: flow.port(), mask: mask.port() }))
    };
    let (src, src_port) = side(ExtType::SrcFlow, ExtType::SrcMask)?;
    let (dst, dst_port) = side(ExtType::DstFlow, ExtType::DstMask)?;
    let place = match m.header.message {
        MessageType::AskPolicy => ExtType::FlowType,
        _ => ExtType::Protocol,
    };
    let protocol = match m.get(place) {
        Some(Ext::Protocol { proto, .. }) => proto,
        _ => 0,
    };
    Some(Selector { protocol, src, src_port, dst, dst_port })
}

fn openbsd_flow(m: &Message<'_>) -> Option<FlowInfo> {
    let selector = openbsd_selector(m)?;
    let (kind, direction) = match m.get(ExtType::FlowType)? {
        Ext::Protocol { proto, direction, .. } => (proto, direction),
        _ => return None,
    };
    let direction = if direction == openbsd::DIRECTION_IN { Direction::In } else { Direction::Out };
    let kind = match u32::from(kind) {
        // The answer to ASKPOLICY does not tell the kind; only these two ask.
        _ if m.header.message == MessageType::AskPolicy => FlowKind::Require,
        openbsd::FLOW_USE => FlowKind::Use,
        openbsd::FLOW_ACQUIRE => FlowKind::Acquire,
        openbsd::FLOW_BYPASS => FlowKind::Bypass,
        openbsd::FLOW_DENY => FlowKind::Deny,
        openbsd::FLOW_DONTACQ => FlowKind::DontAcquire,
        _ => FlowKind::Require,
    };
    let local = address(m, ExtType::AddressSrc).map(|a| a.ip());
    let peer = address(m, ExtType::AddressDst).map(|a| a.ip());
    let endpoints = match (local, peer, direction) {
        (Some(local), Some(peer), Direction::Out) => Some((local, peer)),
        (Some(local), Some(peer), Direction::In) => Some((peer, local)),
        (None, Some(peer), Direction::Out) => Some((super::unspecified(peer), peer)),
        (None, Some(peer), Direction::In) => Some((peer, super::unspecified(peer))),
        _ => None,
    };
    let transforms = match kind {
        FlowKind::Bypass | FlowKind::Deny => Vec::new(),
        _ => vec![Transform {
            protocol: super::protocol(m).unwrap_or(Protocol::Esp),
            mode: Mode::Tunnel,
            reqid: 0,
            endpoints,
            optional: false,
        }],
    };
    let flow = Flow {
        direction,
        kind,
        selector,
        transforms,
        identities: match identities(m) {
            (Some(src), Some(dst)) => Some((src, dst)),
            _ => None,
        },
        priority: 0,
        rdomain: rdomain(m).map(|(outer, _)| outer),
    };
    Some(FlowInfo { flow, id: 0, forward: false, per_socket: false, left: m.header.seq })
}

fn kame_flow(m: &Message<'_>, policy: &Policy<'_>) -> Option<FlowInfo> {
    let side = |kind| match m.get(kind)? {
        Ext::Address(a) => {
            let addr = a.addr.socket()?;
            Some((a.proto, prefix(addr.ip(), a.prefix), Port::exactly(addr.port())))
        }
        _ => None,
    };
    let (proto, src, src_port) = side(ExtType::AddressSrc)?;
    let (_, dst, dst_port) = side(ExtType::AddressDst)?;
    let protocol = if u32::from(proto) == kame::PROTO_ANY { 0 } else { proto };
    let level_use = |level: u8| u32::from(level) == kame::LEVEL_USE;
    // A flow is one that may go in clear when nothing in it is required.
    let optional = policy.requests().all(|r| level_use(r.level));
    let transforms: Vec<Transform> = policy
        .requests()
        .filter_map(|r| {
            Some(Transform {
                protocol: Protocol::from_ip_protocol(u8::try_from(r.protocol).ok()?)?,
                mode: kame_mode(r.mode).unwrap_or(Mode::Transport),
                reqid: r.reqid,
                endpoints: r.src.ip().zip(r.dst.ip()),
                optional: !optional && level_use(r.level),
            })
        })
        .collect();
    let kind = match u32::from(policy.kind) {
        kame::POLICY_DISCARD => FlowKind::Deny,
        kame::POLICY_NONE | kame::POLICY_BYPASS => FlowKind::Bypass,
        _ if optional => FlowKind::Use,
        _ => FlowKind::Require,
    };
    let direction =
        if u32::from(policy.direction) == kame::DIR_OUT { Direction::Out } else { Direction::In };
    let flow = Flow {
        direction,
        kind,
        selector: Selector { protocol, src, src_port, dst, dst_port },
        transforms,
        identities: None,
        priority: policy.priority,
        rdomain: None,
    };
    let forward = u32::from(policy.direction) == linux::DIR_FORWARD;
    // Linux numbers policies by index: the lowest three bits are the direction, those from 3 on
    // belong to sockets.
    let per_socket = match m.dialect().name {
        "linux" => policy.id & 7 > 2,
        "freebsd" => policy.scope == 4,
        _ => false,
    };
    Some(FlowInfo { flow, id: policy.id, forward, per_socket, left: m.header.seq })
}

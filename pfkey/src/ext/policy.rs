//! KAME's `sadb_x_policy` and the `sadb_x_ipsecrequest`s behind it.

use crate::codec::{Sockaddr, padded, read_sockaddr, write_sockaddr};
use crate::dialect::{Dialect, FlowStyle, PolicyStyle};
use crate::layout;
use std::fmt;

/// `struct sadb_x_policy` with its requests.
#[derive(Clone, Copy)]
pub struct Policy<'a> {
    /// Discard, none, ipsec, entrust, bypass: 0 to 4.
    pub kind: u16,
    /// In 1, out 2, forward 3 (Linux).
    pub direction: u8,
    /// FreeBSD's scope, NetBSD's flags.
    pub scope: u8,
    /// The kernel's number.
    pub id: u32,
    /// Priority (FreeBSD, Linux).
    pub priority: u32,
    requests: Body<'a>,
}

/// Requests as read, or as values to be written.
#[derive(Clone, Copy)]
enum Body<'a> {
    Read(&'a [u8], PolicyStyle, &'static Dialect),
    Given(&'a [IpsecRequest<'a>]),
}

/// `struct sadb_x_ipsecrequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpsecRequest<'a> {
    /// IP protocol number: 50, 51, 108.
    pub protocol: u16,
    /// Any 0, transport 1, tunnel 2.
    pub mode: u8,
    /// Default 0, use 1, require 2, unique 3.
    pub level: u8,
    /// reqid; 16 bits but on Linux.
    pub reqid: u32,
    /// Outer source.
    pub src: Sockaddr<'a>,
    /// Outer destination.
    pub dst: Sockaddr<'a>,
}

impl<'a> Policy<'a> {
    /// A policy without requests.
    pub fn plain(kind: u16, direction: u8) -> Policy<'a> {
        Policy { kind, direction, scope: 0, id: 0, priority: 0, requests: Body::Given(&[]) }
    }

    /// What asks for the policy of this number.
    pub fn by_id(id: u32) -> Policy<'a> {
        Policy { id, ..Policy::plain(0, 0) }
    }

    /// The same policy with these requests.
    pub fn with(self, requests: &'a [IpsecRequest<'a>]) -> Policy<'a> {
        Policy { requests: Body::Given(requests), ..self }
    }

    /// The requests.
    pub fn requests(&self) -> Requests<'a> {
        Requests(self.requests)
    }
}

/// Iterates over a policy's requests.
#[derive(Clone)]
pub struct Requests<'a>(Body<'a>);

impl<'a> Iterator for Requests<'a> {
    type Item = IpsecRequest<'a>;

    fn next(&mut self) -> Option<IpsecRequest<'a>> {
        match &mut self.0 {
            Body::Given(list) => {
                let (first, rest) = list.split_first()?;
                *list = rest;
                Some(*first)
            }
            Body::Read(octets, style, dialect) => {
                if octets.is_empty() {
                    return None;
                }
                let (request, len) = parse_request(dialect, *style, octets).ok()?;
                *octets = octets.get(len..).unwrap_or_default();
                Some(request)
            }
        }
    }
}

pub(super) fn parse<'a>(
    dialect: &'static Dialect,
    raw: &'a [u8],
) -> Result<Policy<'a>, &'static str> {
    use layout::x_policy_freebsd as l;
    let FlowStyle::Policies(style) = dialect.flows else {
        return Err("a kernel policy in a dialect of flows");
    };
    let body = raw.get(l::SIZE..).ok_or("shorter than its type")?;
    let mut left = body;
    while !left.is_empty() {
        let (_, len) = parse_request(dialect, style, left)?;
        left = left.get(len..).unwrap_or_default();
    }
    Ok(Policy {
        kind: l::TYPE.get(raw),
        direction: l::DIR.get(raw),
        scope: l::SCOPE.get(raw),
        id: l::ID.get(raw),
        priority: l::PRIORITY.get(raw),
        requests: Body::Read(body, style, dialect),
    })
}

fn parse_request<'a>(
    dialect: &'static Dialect,
    style: PolicyStyle,
    from: &'a [u8],
) -> Result<(IpsecRequest<'a>, usize), &'static str> {
    use layout::x_ipsecrequest_kame as narrow;
    use layout::x_ipsecrequest_linux as wide;
    let head = if style.wide { wide::SIZE } else { narrow::SIZE };
    if from.len() < head {
        return Err("request of the policy cut off");
    }
    let len = usize::from(narrow::LEN.get(from));
    if len < head {
        return Err("request of the policy shorter than its type");
    }
    let addresses = from.get(head..len).ok_or("request of the policy longer than its room")?;
    let (src, used) = read_sockaddr(dialect, addresses)?;
    let (dst, more) = read_sockaddr(dialect, addresses.get(used..).unwrap_or_default())?;
    if used > 0 && more == 0 {
        return Err("request of the policy with one address");
    }
    if padded(head + used + more) != padded(len) {
        return Err("room left behind the addresses of a request");
    }
    let request = IpsecRequest {
        protocol: narrow::PROTO.get(from),
        mode: narrow::MODE.get(from),
        level: narrow::LEVEL.get(from),
        reqid: if style.wide { wide::REQID.get(from) } else { narrow::REQID.get(from).into() },
        src,
        dst,
    };
    Ok((request, len))
}

pub(super) fn emit(dialect: &Dialect, policy: &Policy<'_>, to: &mut Vec<u8>) {
    use layout::x_ipsecrequest_kame as narrow;
    use layout::x_ipsecrequest_linux as wide;
    use layout::x_policy_freebsd as l;
    let mut room = [0; l::SIZE];
    l::TYPE.put(&mut room, policy.kind);
    l::DIR.put(&mut room, policy.direction);
    l::SCOPE.put(&mut room, policy.scope);
    l::ID.put(&mut room, policy.id);
    l::PRIORITY.put(&mut room, policy.priority);
    to.extend_from_slice(&room);
    let is_wide = matches!(dialect.flows, FlowStyle::Policies(PolicyStyle { wide: true, .. }));
    for request in policy.requests() {
        let start = to.len();
        let mut room = [0; wide::SIZE];
        narrow::PROTO.put(&mut room, request.protocol);
        narrow::MODE.put(&mut room, request.mode);
        narrow::LEVEL.put(&mut room, request.level);
        if is_wide {
            wide::REQID.put(&mut room, request.reqid);
        } else {
            narrow::REQID.put(&mut room, request.reqid as u16);
        }
        to.extend_from_slice(&room[..if is_wide { wide::SIZE } else { narrow::SIZE }]);
        write_sockaddr(dialect, &request.src, to);
        write_sockaddr(dialect, &request.dst, to);
        to.resize(start + padded(to.len() - start), 0);
        let len = (to.len() - start) as u16;
        if let Some(head) = to.get_mut(start..) {
            narrow::LEN.put(head, len);
        }
    }
}

impl PartialEq for Policy<'_> {
    fn eq(&self, other: &Policy<'_>) -> bool {
        let key = |p: &Policy<'_>| (p.kind, p.direction, p.scope, p.id, p.priority);
        key(self) == key(other) && self.requests().eq(other.requests())
    }
}

impl Eq for Policy<'_> {}

impl fmt::Debug for Policy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("kind", &self.kind)
            .field("direction", &self.direction)
            .field("scope", &self.scope)
            .field("id", &self.id)
            .field("priority", &self.priority)
            .field("requests", &self.requests().collect::<Vec<_>>())
            .finish()
    }
}

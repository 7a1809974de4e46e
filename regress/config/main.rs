//! Configuration files: cases as files.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use oakd::conf::{self, Auth, MemoryFiles, NumericNames, Start};
use oakd::wire::iana::v2::IdType;

#[test]
fn a_plain_rule_becomes_a_policy() {
    let text = "ikev2 \"t\" active esp from 10.10.1.1/32 to 10.10.2.1/32 local 10.9.0.1 \
                peer 10.9.0.2 srcid 10.9.0.1 dstid 10.9.0.2 psk \"interop-secret\"\n";
    let files = MemoryFiles::default().with("oakd.conf", text);
    let checked = conf::load("oakd.conf", &[], &files, &NumericNames).unwrap();
    let policy = &checked.config.policies[0];
    assert_eq!(policy.name.0, "t");
    assert_eq!(policy.start, Start::Active);
    assert_eq!(policy.auth, Auth::Psk);
    assert_eq!(policy.peer.unwrap().as_host(), Some("10.9.0.2".parse().unwrap()));
    let id = policy.local_id.as_ref().unwrap();
    assert_eq!((id.id_type, id.data.as_slice()), (IdType::ID_IPV4_ADDR, &[10, 9, 0, 1][..]));
    assert_eq!(policy.flows.len(), 1);
    assert_eq!(checked.secrets.len(), 1);
    assert_eq!(checked.secrets[0].policy, policy.name);
    assert_eq!(checked.secrets[0].psk.octets(), b"interop-secret");
}

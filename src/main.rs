//! oakd(8): arguments to a role.

fn main() {}

//! oakctl(8): words to a control request, and the printed answer.

fn main() {}

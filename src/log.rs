//! Where reports go.

//! The configuration language: text, tokens, syntax, checked values.

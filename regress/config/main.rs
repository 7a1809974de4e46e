//! Configuration files: cases as files.

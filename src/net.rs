//! UDP sockets: local address of each datagram, the non-ESP marker.

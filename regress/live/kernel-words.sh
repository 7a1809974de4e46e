# Words about the kernel itself: what oakctl does with it, and kernels that are none. Sourced by `scene`.

# ---- the kernel by hand ---------------------------------------------------------------------------

# by_hand HOST oakctl-arguments...: oakctl as ipsecctl, in the host's own namespace.
by_hand() { on "$1" timeout 20 "$OAKD_PROGRAMS/oakctl" "${@:2}"; }
# load HOST..., unload HOST..., flush HOST...: the manual rules of its ipsec.conf into the kernel, out of it;
# everything out of it.
load() {
	local host
	for host; do
		by_hand "$host" -f "$work/$host/ipsec.conf" >>"$work/$host/log" 2>&1 || fail "$host: oakctl -f"
		say "$host: ipsec.conf is loaded"
	done
}
unload() {
	local host
	for host; do
		by_hand "$host" -d -f "$work/$host/ipsec.conf" >>"$work/$host/log" 2>&1 || fail "$host: oakctl -d -f"
		say "$host: ipsec.conf is unloaded"
	done
}
flush() {
	local host
	for host; do
		by_hand "$host" -F || fail "$host: oakctl -F"
		say "$host: flushed"
	done
}
# holds HOST LINE: what `oakctl -k -s all` shows comes to hold this line.
holds() {
	eventually held "$@" || fail "$1: oakctl -s all does not show: $2"
	say "$1: oakctl shows: $2"
}
held() { by_hand "$1" -k -s all 2>>"$work/$1/log" | grep -qF -- "$2"; }
# listen_in HOST, then heard HOST TEXT: oakctl -m on HOST, and what it comes to print.
listen_in() {
	on "$1" timeout 60 "$OAKD_PROGRAMS/oakctl" -m >"$work/$1/pfkey" 2>>"$work/$1/log" &
	eventually grep -qs sadb_x_promisc "$work/$1/pfkey" || fail "$1: oakctl -m hears nothing"
}
heard() {
	eventually grep -qE -- "$2" "$work/$1/pfkey" || fail "$1: oakctl -m did not show: $2"
	say "$1: oakctl -m: $(grep -E -m1 -- "$2" "$work/$1/pfkey" | cut -c1-100)"
}

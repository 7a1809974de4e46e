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

# on_kernel HOST DIALECT: its oakd, when it is started next, serves a scripted kernel of this dialect; the
# kernel that runs, if the dialect is `real`: both through the relay.
# kernel_holds HOST LINE, kernel_empty HOST: what a scripted kernel comes to hold.
# kernel_gone HOST: the relay dies.
declare -A kernel=() relay=()
on_kernel() {
	local path=$work/$1/kernel-$2 dialect=$2 scripted=$2
	if [ "$2" = real ]; then
		dialect=linux scripted=
	fi
	on "$1" "$OAKD_PROGRAMS/examples/pfkey-relay" "$path" $scripted >>"$work/$1/log" 2>&1 &
	relay[$1]=$path
	eventually test -S "$path" || fail "$1: no kernel behind a relay"
	kernel[$1]="-K $dialect:$path"
	say "$1: on a ${scripted:-real} kernel through a relay"
}
kernel_gone() {
	local pid
	for pid in $(pgrep -f "pfkey-relay ${relay[$1]}"); do
		kill "$pid"
	done
	say "$1: the relay is gone"
}
kernel_holds() {
	eventually grep -qsE -- "$2" "${kernel[$1]#*:}.held" || fail "$1: its kernel does not hold: $2"
	say "$1: $(grep -E -m1 -- "$2" "${kernel[$1]#*:}.held")"
}
kernel_empty() {
	eventually grep -qsx '0 flows' "${kernel[$1]#*:}.held" && [ "$(wc -l <"${kernel[$1]#*:}.held")" = 1 ] || fail "$1: left in its kernel: $(cat "${kernel[$1]#*:}.held")"
	say "$1: its kernel is empty"
}

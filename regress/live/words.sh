# The vocabulary of a scenario's `steps`. Sourced in the guest by `scene`; see README.md in regress.
#
# Two hosts, `left` and `right`, are network namespaces joined by one wire:
#
#            left                                     right
#   inner    10.10.1.1  fd10:1::1                     10.10.2.1  fd10:2::1
#   outer    10.9.0.1   fd09::1     ----- wire -----  10.9.0.2   fd09::2
#
# A host runs the daemon whose configuration its folder holds: oakd.conf, swanctl.conf, iked.conf or vpnc.conf.
# Each word that asserts something says what it saw, or ends the scenario with what it did not see.

declare -A inner4=([left]=10.10.1.1 [right]=10.10.2.1) inner6=([left]=fd10:1::1 [right]=fd10:2::1)
declare -A outer4=([left]=10.9.0.1 [right]=10.9.0.2) outer6=([left]=fd09::1 [right]=fd09::2)
declare -A other=([left]=right [right]=left) daemon=()
patience=15 # seconds that `eventually` gives

say() { echo "  $*"; }
fail() { echo "  FAILED: $*"; exit 1; }
on() { ip netns exec "$@"; } # host command...

# Repeat a command until it succeeds, for as long as patience lasts.
eventually() {
	local until=$((SECONDS + patience))
	until "$@"; do
		[ $SECONDS -lt $until ] || return 1
		sleep 0.2
	done
}

. "${BASH_SOURCE[0]%/*}/certs.sh"

# ---- the network ------------------------------------------------------------------------------

lay_wire() {
	local host
	for host in left right; do
		ip netns add $host
		ip -n $host link set lo up
	done
	ip link add wire netns left type veth peer name wire netns right
	for host in left right; do
		ip -n $host link set wire up
		ip -n $host addr add ${outer4[$host]}/24 dev wire
		ip -n $host addr add ${outer6[$host]}/64 dev wire nodad
		ip -n $host addr add ${inner4[$host]}/32 dev lo
		ip -n $host addr add ${inner6[$host]}/128 dev lo nodad
	done
	for host in left right; do
		local far=${other[$host]}
		ip -n $host route add ${inner4[$far]} via ${outer4[$far]} src ${inner4[$host]}
		ip -n $host route add ${inner6[$far]} via ${outer6[$far]} src ${inner6[$host]}
	done
	# Each end is watched as it sends: a received packet is shown again by Linux once it is out of ESP.
	: >"$work/wire"
	for host in left right; do
		on $host tcpdump -Z root -l -tt -nni wire -Q out not arp >>"$work/wire" 2>"$work/tcpdump-$host" &
	done
	for host in left right; do
		eventually grep -qs 'listening on' "$work/tcpdump-$host" || fail "tcpdump did not start"
	done
}

unplug() { ip -n "$1" link set wire down; say "$1 is off the wire"; }
plug() {
	ip -n "$1" link set wire up
	local far=${other[$1]}
	ip -n "$1" addr add ${outer6[$1]}/64 dev wire nodad 2>/dev/null
	ip -n "$1" route replace ${inner4[$far]} via ${outer4[$far]} src ${inner4[$1]}
	ip -n "$1" route replace ${inner6[$far]} via ${outer6[$far]} src ${inner6[$1]}
	say "$1 is on the wire again"
}

# behind_nat HOST: a third namespace, `middle`, comes between HOST and the wire and translates its address
# and ports. The scenario's `modules` must say: iptable_nat xt_MASQUERADE
#
#   HOST 10.8.0.1 ---- 10.8.0.254 middle (what was HOST's outer address) ---- wire ---- the other host
nat_ports=30000
behind_nat() {
	local far=${other[$1]}
	ip netns add middle
	ip -n middle link set lo up
	ip -n "$1" link set wire netns middle
	ip -n middle link set wire name outside up
	ip -n middle addr add ${outer4[$1]}/24 dev outside
	ip link add wire netns "$1" type veth peer name inside netns middle
	ip -n "$1" link set wire up
	ip -n "$1" addr add 10.8.0.1/24 dev wire
	ip -n middle link set inside up
	ip -n middle addr add 10.8.0.254/24 dev inside
	on middle sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
	ip -n "$1" route add default via 10.8.0.254
	ip -n "$1" route add ${inner4[$far]} via 10.8.0.254 src ${inner4[$1]}
	translate
	on "$1" tcpdump -Z root -l -tt -nni wire -Q out not arp >>"$work/wire" 2>"$work/tcpdump-$1" &
	eventually grep -qs 'listening on' "$work/tcpdump-$1" || fail "tcpdump did not start"
	nat_of=$1
	say "$1 is behind a NAT now"
}
translate() {
	local range=$nat_ports-$((nat_ports + 999)) nat="on middle iptables-legacy -t nat"
	{ $nat -F && $nat -A POSTROUTING -o outside -p udp -j MASQUERADE --to-ports "$range" &&
		$nat -A POSTROUTING -o outside -j MASQUERADE; } || fail "no NAT in this kernel"
}
# remap [ADDRESS]: the NAT forgets its mappings and makes others, with other ports (and another address).
remap() {
	nat_ports=$((nat_ports + 1000))
	translate
	# When the address goes the mappings go with it.
	ip -n middle addr del ${outer4[$nat_of]}/24 dev outside
	outer4[$nat_of]=${1:-${outer4[$nat_of]}}
	ip -n middle addr add ${outer4[$nat_of]}/24 dev outside
	ip -n "${other[$nat_of]}" route replace ${inner4[$nat_of]} via ${outer4[$nat_of]} src ${inner4[${other[$nat_of]}]}
	say "the NAT has other mappings: ${outer4[$nat_of]}, ports from $nat_ports on"
}
# lossy PERCENT: so much of what each host sends is lost. The scenario's `modules` must say: sch_netem
lossy() {
	local host
	for host in left right; do
		tc -n $host qdisc replace dev wire root netem loss "$1%" || fail "$host: no netem"
	done
	enough=$(($1 ? 1 : 3))
	say "the wire loses $1 %"
}
# narrow: packets of more than 600 octets do not get through, for somebody drops IP fragments. The scenario's
# `modules` must say: iptable_raw
narrow() {
	local host
	for host in left right; do
		ip -n $host link set wire mtu 600
		on $host iptables-legacy -t raw -A PREROUTING -f -j DROP || fail "$host: no filter"
	done
	say "the wire takes only small packets"
}
# roam HOST ADDRESS: it has another outer address from now on.
roam() {
	local far=${other[$1]}
	ip -n "$1" addr del "${outer4[$1]}/24" dev wire
	ip -n "$1" addr add "$2/24" dev wire
	outer4[$1]=$2
	ip -n "$1" route replace ${inner4[$far]} via ${outer4[$far]} src ${inner4[$1]}
	ip -n "$far" route replace ${inner4[$1]} via ${outer4[$1]} src ${inner4[$far]}
	say "$1 is at $2 now"
}

# ---- daemons ----------------------------------------------------------------------------------

# start HOST...: start the daemon of each, with its configuration, and wait until it listens.
start() {
	local host
	for host; do
		"start_${daemon[$host]}" "$host"
		say "$host: ${daemon[$host]} started"
	done
}

run_daemon() { # host command...
	local host=$1
	shift
	rm -f "$work/$host/sock" # of an earlier one, which was killed
	ip netns exec "$host" "$@" </dev/null >>"$work/$host/log" 2>&1 &
	echo $! >"$work/$host/pid"
}

start_oakd() {
	local dir=$work/$1
	# shellcheck disable=SC2086 # none or two words
	run_daemon "$1" "$OAKD_PROGRAMS/oakd" -d -v -f "$dir/oakd.conf" -k "$dir/keys" -s "$dir/sock" -l "$dir/state" ${kernel[$1]-}
	eventually test -S "$dir/sock" || fail "$1: oakd has no control socket"
}

start_iked() {
	local dir=$work/$1
	mkdir -p /etc/iked/{ca,certs,crls,private} /etc/iked/pubkeys/{ipv4,ipv6,fqdn,ufqdn}
	[ -e /etc/iked/private/local.key ] ||
		(umask 077 && openssl ecparam -name prime256v1 -genkey -noout -out /etc/iked/private/local.key)
	run_daemon "$1" iked -dvv -f "$dir/iked.conf" -s "$dir/sock"
	eventually test -S "$dir/sock" || fail "$1: iked has no control socket"
}

start_strongswan() {
	local dir=$work/$1
	# Beside the scenario's swanctl.conf there may be extra lines for the daemon itself.
	cat >"$dir/strongswan.conf" <<-END
	charon-systemd {
		load = random nonce openssl kdf pem pkcs1 pkcs8 pubkey x509 revocation constraints kernel-netlink socket-default xauth-generic vici
		install_routes = no
		retransmit_tries = 3
		retransmit_timeout = 1.0
		plugins { vici { socket = unix://$dir/sock } }
		filelog { log { path = $dir/charon.log
			flush_line = yes
			default = 1
			ike = 2
			cfg = 2
			knl = 2 } }
		$(cat "$dir/charon.conf" 2>/dev/null)
	}
	swanctl { load = random openssl pem pkcs1 pkcs8 pubkey x509
		socket = unix://$dir/sock }
	END
	STRONGSWAN_CONF=$dir/strongswan.conf run_daemon "$1" charon-systemd
	eventually test -S "$dir/sock" || fail "$1: charon has no control socket"
	swan "$1" --load-all --noprompt --file "$dir/swanctl.conf" >>"$dir/log" 2>&1 || fail "$1: swanctl --load-all"
}

# vpnc, a client: it ends when it is not let in. Its interface gets the address that it was given.
start_vpnc() {
	local dir=$work/$1
	mkdir -p /dev/net
	[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
	cat >"$dir/interface" <<-END
	#!/bin/sh
	env >>"$dir/told"
	[ "\$reason" = connect ] || exit 0
	ip link set "\$TUNDEV" up
	ip addr add "\$INTERNAL_IP4_ADDRESS/32" dev "\$TUNDEV"
	ip route replace ${inner4[${other[$1]}]} dev "\$TUNDEV" src "\$INTERNAL_IP4_ADDRESS"
	END
	chmod 755 "$dir/interface"
	run_daemon "$1" vpnc --no-detach --non-inter --debug 2 --pid-file "$dir/vpnc.pid" --script "$dir/interface" "$dir/vpnc.conf"
}

# libreswan is unpacked in a folder, and looks for its programs where a package would have put them: that folder is
# shown there to it alone. The host's folder holds its connection `t`, and may hold `secrets`.
start_libreswan() {
	local dir=$work/$1 root=$here/.libreswan
	mkdir -p "$dir/ipsec.d" "$dir/run" "$dir/dump"
	nss "$1"
	[ -e "$dir/secrets" ] || (umask 077 && echo '%any %any : PSK "interop-secret"' >"$dir/secrets")
	# shellcheck disable=SC2016 # for the inner shell
	run_daemon "$1" unshare -m sh -c 'mount --bind "$0" /usr/libexec && exec env LD_LIBRARY_PATH="$@"' \
		"$root/usr/libexec" "$(echo "$root"/usr/lib/*-linux-gnu)" \
		"$root/usr/libexec/ipsec/pluto" --config "$dir/libreswan.conf" --nofork --stderrlog --no-dnssec --log-no-audit \
		--nhelpers 0 --rundir "$dir/run" --ipsecdir "$dir/ipsec.d" --nssdir "$dir/nss" --secretsfile "$dir/secrets" \
		--dumpdir "$dir/dump"
	eventually test -S "$dir/run/pluto.ctl" || fail "$1: pluto has no control socket"
	{ libre "$1" whack --listen && libre "$1" addconn --config "$dir/libreswan.conf" t; } >>"$dir/log" 2>&1 ||
		fail "$1: libreswan does not take its configuration"
}
# nss HOST: the database in which libreswan has its keys and certificates.
nss() {
	mkdir -p "$work/$1/nss"
	[ -f "$work/$1/nss/cert9.db" ] || nss_tool certutil -N --empty-password -d "sql:$work/$1/nss"
}
nss_tool() { # program arguments...
	LD_LIBRARY_PATH=$(echo "$here"/.libreswan/usr/lib/*-linux-gnu) "$here/.libreswan/usr/bin/$1" "${@:2}" >>"$work/nss" 2>&1 ||
		fail "$1: $(tail -n 1 "$work/nss")"
}
libre() { # host program arguments...
	LD_LIBRARY_PATH=$(echo "$here"/.libreswan/usr/lib/*-linux-gnu) \
		timeout 30 "$here/.libreswan/usr/libexec/ipsec/$2" --ctlsocket "$work/$1/run/pluto.ctl" "${@:3}"
}

swan() { # host swanctl-arguments...
	STRONGSWAN_CONF=$work/$1/strongswan.conf timeout 30 swanctl "${@:2}"
}
ctl() { # host oakctl-arguments...
	timeout 10 "$OAKD_PROGRAMS/oakctl" -S "$work/$1/sock" "${@:2}"
}

# begin HOST: have it initiate. OpenIKED and oakd do so by themselves where the configuration says `active`.
begin() {
	case ${daemon[$1]} in
	strongswan) swan "$1" --initiate --child c --timeout 20 >>"$work/$1/log" 2>&1 || fail "$1: swanctl --initiate" ;;
	libreswan) libre "$1" whack --initiate --name t >>"$work/$1/log" 2>&1 || fail "$1: whack --initiate" ;;
	esac
}

# half_open HOST N: from HOST, N IKE_SA_INIT requests that nothing follows, as a flood would be.
half_open() {
	on "$1" perl "$here/half-open" ${outer4[${other[$1]}]} "$2" || fail "$1: half-open"
	say "$1: $2 half-open IKE SAs begun"
}

# stop HOST...: end each daemon as a person would, and wait for it.
stop() {
	local host pid
	for host; do
		pid=$(cat "$work/$host/pid")
		kill -TERM "$pid"
		eventually gone "$pid" || fail "$host: ${daemon[$host]} does not end"
		say "$host: ${daemon[$host]} stopped"
	done
}
# kill_hard HOST: SIGKILL to the daemon and all its children at once.
kill_hard() {
	local pid
	pid=$(cat "$work/$1/pid")
	# shellcheck disable=SC2046 # a list of process numbers
	kill -KILL "$pid" $(ps -o pid= --ppid "$pid")
	eventually gone "$pid" || fail "$1: still there after SIGKILL"
	say "$1: killed"
}
# kill_child HOST ROLE: SIGKILL to one process of oakd (ike, ca, control), which must come back.
kill_child() {
	local parent child
	parent=$(cat "$work/$1/pid")
	child=$(pgrep -P "$parent" -f -- "-P $2") || fail "$1: no process $2"
	kill -KILL "$child"
	eventually came_back "$parent" "$2" "$child" || fail "$1: process $2 did not come back"
	say "$1: process $2 killed, and back"
}
came_back() { local now; now=$(pgrep -P "$1" -f -- "-P $2") && [ "$now" != "$3" ]; }
gone() { ! kill -0 "$1" 2>/dev/null || [ "$(ps -o stat= -p "$1" | cut -c1)" = Z ]; }
reload() { kill -HUP "$(cat "$work/$1/pid")"; say "$1: told to reload"; }

# ---- assertions ---------------------------------------------------------------------------------

# The SPIs of a host's kernel SAs, sorted; larval ones (spi known, no keys yet) are left out.
spis() {
	ip -n "$1" xfrm state | awk '$1 == "proto" { spi = $4 } /^\t(enc|aead|auth)/ { print spi }' | sort -u
}
has_sas() { [ "$(spis "$1" | wc -l)" -ge "${2:-2}" ]; }
has_no_sas() { [ -z "$(spis "$1")" ]; }
has_no_policies() { ! ip -n "$1" xfrm policy | grep -q 'dir '; }

# up [N]: both kernels come to hold N SAs (2 unless said) or more.
up() {
	local host
	for host in left right; do
		eventually has_sas $host "${1:-2}" || fail "$host: no ${1:-2} SAs in the kernel after $patience s"
	done
	say "SAs are in both kernels"
}
# empty HOST: its SADB and SPD hold nothing.
empty() {
	eventually has_no_sas "$1" || fail "$1: SAs are left: $(spis "$1" | tr '\n' ' ')"
	eventually has_no_policies "$1" || fail "$1: policies are left: $(ip -n "$1" xfrm policy | head -n 2 | tr '\n' ' ')"
	say "$1: SADB and SPD are empty"
}
# not_up: nothing gets into the kernels for some seconds.
not_up() {
	sleep "${1:-3}"
	has_no_sas left && has_no_sas right || fail "SAs were installed"
	say "no SA was installed"
}

# How many of three pings have to come back: where the wire loses packets, one.
enough=3
send_pings() { # host target: three, over a source that the policies cover
	on "$1" ping -n -c 3 -i 0.2 -W 2 ${3:+-I "$3"} "$2" | grep -q " [$enough-3] received"
}
# ping4, ping6 HOST: between the inner addresses; pingout4, pingout6: between the outer ones.
ping4() { eventually send_pings "$1" ${inner4[${other[$1]}]} ${inner4[$1]} || fail "$1: no ping crosses"; say "$1: ping crosses"; }
ping6() { eventually send_pings "$1" ${inner6[${other[$1]}]} ${inner6[$1]} || fail "$1: no ping crosses"; say "$1: ping crosses (IPv6)"; }
pingout4() { eventually send_pings "$1" ${outer4[${other[$1]}]} || fail "$1: no ping crosses"; say "$1: ping crosses"; }
pingout6() { eventually send_pings "$1" ${outer6[${other[$1]}]} || fail "$1: no ping crosses"; say "$1: ping crosses (IPv6)"; }

# only_esp: the wire has carried ESP, IKE (and what keeps a network going), and nothing in clear.
innocent='udp port [0-9]+ unreachable|ESP\(spi=|isakmp|NONESP|nat-keep-alive|ICMP6, (neighbor|router|multicast)'
only_esp() {
	sleep 0.3
	grep -q 'ESP(spi=' "$work/wire" || fail "no ESP was on the wire"
	if grep -vE "$innocent" "$work/wire" >"$work/clear"; then
		fail "in clear on the wire: $(head -n 1 "$work/clear")"
	fi
	say "on the wire: $(grep -c 'ESP(spi=' "$work/wire") ESP packets, nothing in clear"
}

# says HOST TEXT: the host's log comes to hold a line that matches.
says() {
	eventually grep -qiE -- "$2" "$work/$1/log" "$work/$1/charon.log" 2>/dev/null || fail "$1 never said: $2"
	say "$1 said: $(grep -hiE -m1 -- "$2" "$work/$1/log" "$work/$1/charon.log" 2>/dev/null | head -n 1 | cut -c1-120)"
}
says_not() {
	! grep -qiE -- "$2" "$work/$1/log" || fail "$1 said: $(grep -iE -m1 -- "$2" "$work/$1/log")"
}
# shows HOST WORD TEXT: what `oakctl show WORD` prints comes to match.
shows() {
	eventually shown "$@" || fail "$1: oakctl show $2 does not tell: $3"
	say "$1: oakctl show $2: $(ctl "$1" show "$2" | grep -iE -m1 -- "$3" | cut -c1-120)"
}
shown() { ctl "$1" show "$2" 2>>"$work/$1/log" | grep -qiE -- "$3"; }

# trace_from HOST [PEER]: oakctl trace on HOST from now on; the ladder, the datagrams and the keys into files.
trace_from() {
	local dir=$work/$1
	timeout 60 "$OAKD_PROGRAMS/oakctl" -S "$dir/sock" -w "$dir/pcap" -K "$dir/trace-keys" trace ${2:+"$2"} >"$dir/ladder" 2>&1 &
	eventually grep -qs 'keys of IKE SAs' "$dir/log" || fail "$1: nobody traces"
	say "$1: traced"
}
# traced HOST PATTERN: a line of the ladder comes to match.
traced() {
	eventually grep -qE -- "$2" "$work/$1/ladder" || fail "$1: the ladder does not show: $2"
	say "$1: $(grep -E -m1 -- "$2" "$work/$1/ladder" | cut -c1-120)"
}
# decrypts HOST FIELD VALUE: Wireshark, with the keys, comes to read this value of a field of IKE.
decrypts() {
	mkdir -p "$work/$1/.config/wireshark"
	eventually wireshark_reads "$@" || fail "$1: Wireshark does not read $2 = $3: $(cat "$work/$1/tshark")"
	say "$1: Wireshark reads $2 = $3"
}
wireshark_reads() {
	cp "$work/$1/trace-keys" "$work/$1/.config/wireshark/ikev2_decryption_table"
	[ ! -e "$work/$1/trace-keys.ikev1" ] ||
		cp "$work/$1/trace-keys.ikev1" "$work/$1/.config/wireshark/ikev1_decryption_table"
	HOME=$work/$1 timeout 20 tshark -r "$work/$1/pcap" -T fields -e ip.src -e "$2" >"$work/$1/tshark" 2>"$work/$1/tshark.err" &&
		grep -qF -- "$3" <(cut -f 2- "$work/$1/tshark")
}

# has_address HOST ADDRESS / has_no_address HOST ADDRESS: it comes to be (not to be) on one of its interfaces.
on_interface() { ip -n "$1" -o addr show | grep -qF " $2/"; }
off_interface() { ! on_interface "$@"; }
has_address() { eventually on_interface "$@" || fail "$1: no address $2"; say "$1 has address $2"; }
has_no_address() { eventually off_interface "$@" || fail "$1: address $2 is left"; say "$1 has no address $2"; }
# has_route HOST NETWORK SOURCE / has_no_route HOST NETWORK: a route with this source address.
in_routes() { { ip -n "$1" route; ip -n "$1" -6 route; } | grep -qE "^$2 .*src $3( |$)"; }
not_in_routes() { ! { ip -n "$1" route; ip -n "$1" -6 route; } | grep -qE "^$2 .*proto 79"; }
has_route() { eventually in_routes "$@" || fail "$1: no route to $2 from $3"; say "$1 has a route to $2 from $3"; }
has_no_route() { eventually not_in_routes "$@" || fail "$1: a route to $2 is left"; say "$1 has no route to $2 of its own"; }
# resolves_by HOST PATTERN / resolves_not_by: its /etc/resolv.conf (see resolv_of) holds a line that matches.
resolv_of() { # HOST CONTENT: give the host a resolv.conf of its own
	mkdir -p "/etc/netns/$1" && printf '%s\n' "$2" >"/etc/netns/$1/resolv.conf"
}
resolves_by() { eventually grep -qE -- "$2" "/etc/netns/$1/resolv.conf" || fail "$1: resolv.conf lacks $2"; say "$1 asks: $2"; }
lacks_resolver() { ! grep -qE -- "$2" "/etc/netns/$1/resolv.conf"; }
resolves_not_by() { eventually lacks_resolver "$@" || fail "$1: resolv.conf still has $2"; say "$1 no longer asks: $2"; }
# inner_ping HOST ADDRESS: a ping from an address within the tunnel to the other's inner address.
inner_ping() { eventually send_pings "$1" ${inner4[${other[$1]}]} "$2" || fail "$1: no ping crosses from $2"; say "$1: ping crosses from $2"; }
inner_ping6() { eventually send_pings "$1" ${inner6[${other[$1]}]} "$2" || fail "$1: no ping crosses from $2"; say "$1: ping crosses from $2"; }

# remember HOST / same_sas HOST / new_sas HOST: compare the kernel's SPIs with those of before.
declare -A remembered=()
remember() { remembered[$1]=$(spis "$1"); }
same_sas() { [ "$(spis "$1")" = "${remembered[$1]}" ] || fail "$1: the SAs changed"; say "$1: the same SAs"; }
changed() { local now; now=$(spis "$1"); [ -n "$now" ] && [ -z "$(comm -12 <(echo "$now") <(echo "${remembered[$1]}"))" ]; }
new_sas() { eventually changed "$1" || fail "$1: the SAs were not replaced"; say "$1: new SAs have replaced the old"; }

# just_sas HOST N: its kernel holds N SAs and no more.
just_sas() { [ "$(spis "$1" | wc -l)" = "$2" ]; }

# steady HOST / steadily HOST [N]: pings cross between the inner addresses from now on; none has been lost, or N at
# most, where the peer sends on a new SA before its answer has reached us, who can have none before.
steady() {
	ip netns exec "$1" ping -n -i 0.05 -I ${inner4[$1]} ${inner4[${other[$1]}]} >"$work/$1/steady" 2>&1 &
	steady_ping=$!
	eventually grep -q 'bytes from' "$work/$1/steady" || fail "$1: no ping crosses"
}
steadily() {
	local sent received
	kill -TERM $steady_ping
	wait $steady_ping 2>/dev/null
	# By the numbers that came back: what was on its way when ping ended does not count.
	received=$(grep -c 'bytes from' "$work/$1/steady")
	sent=$(sed -nE 's/.*icmp_seq=([0-9]+).*/\1/p' "$work/$1/steady" | sort -n | tail -n 1)
	[ $((sent - received)) -le "${2:-0}" ] || fail "$1: $((sent - received)) of $sent pings were lost"
	say "$1: $sent pings crossed, $((sent - received)) were lost"
}

# Sourced by setup and build: where things lie, and which systems there are.

systems="freebsd openbsd netbsd"
home=${OAKD_CROSS_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/oakd-cross}
sysroot=$home/rust/usr/lib/rustlib

triple() { echo "x86_64-unknown-$1"; }

# The arguments that name systems, or all of them; anything else ends the script.
chosen() {
	for os; do
		case " $systems " in
		*" $os "*) ;;
		*) echo "${0##*/}: no such system: $os (there are: $systems)" >&2; return 2 ;;
		esac
	done
	echo "${*:-$systems}"
}

# An outer cargo's or rustup's choice of compiler and flags is not for us.
own_toolchain() {
	unset RUSTUP_TOOLCHAIN CARGO RUSTC RUSTDOC RUSTC_WRAPPER RUSTC_BOOTSTRAP \
		RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
	PATH=$home/bin:$PATH
	export PATH
}

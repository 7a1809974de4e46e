# Words about certificates. Sourced by words.sh. Made with openssl(1), which is nobody's daemon:
#
#   authority NAME [ABOVE [KIND]]   a key and its certificate, self-signed or below another authority
#   certificate NAME AUTHORITY SAN [KIND [DAYS]]
#                                   a host's; SAN as in `DNS:left.test`; KIND p256 (default), p384, p521,
#                                   ed25519, ed448, rsa; DAYS may lie in the past: -1 is expired
#   revocations AUTHORITY [NAME...] the authority's list, with these revoked
#   trusts HOST AUTHORITY...        put them where the host's daemon looks for authorities
#   owns HOST NAME                  its key and certificate
#   sends HOST AUTHORITY...         intermediates that the host sends along
#   knows_revoked HOST AUTHORITY    the authority's list
#   answered HOST AUTHORITY NAME    an OCSP answer about it, made by the authority, for oakd to send along
#   raw HOST NAME / raw_peer HOST IDENTITY NAME
#                                   a key without certificate; the peer's public key

pki=$work/pki
ssl() { openssl "$@" >>"$pki/log" 2>&1 || fail "openssl $1: $(tail -n 1 "$pki/log")"; }
make_key() { # file kind
	mkdir -p "$pki"
	case $2 in
	rsa) ssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1" ;;
	p256) ssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" ;;
	p384) ssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out "$1" ;;
	p521) ssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out "$1" ;;
	*) ssl genpkey -algorithm "$2" -out "$1" ;;
	esac
}
# sign NAME AUTHORITY EXTENSIONS DAYS: from a request; the authority's database remembers for revocations.
sign() {
	local ca=$pki/$2
	ssl req -new -key "$pki/$1.key" -subj "/O=Scene/CN=$1" -out "$pki/$1.csr"
	[ -e "$ca.index" ] || { : >"$ca.index"; echo 01 >"$ca.number"; }
	printf '[ca]\ndefault_ca=it\n[it]\ndatabase=%s\nrand_serial=yes\nnew_certs_dir=%s\ndefault_md=sha256\npolicy=any\ncrlnumber=%s\ndefault_crl_days=30\nunique_subject=no\n[any]\nO=optional\nCN=supplied\n[ext]\n%b' \
		"$ca.index" "$pki" "$ca.number" "$3" >"$pki/$1.conf"
	local from until
	from=$(date -u -d '3 days ago' +%Y%m%d%H%M%SZ) until=$(date -u -d "$4 days" +%Y%m%d%H%M%SZ)
	ssl ca -batch -config "$pki/$1.conf" -extensions ext -startdate "$from" -enddate "$until" -notext \
		-cert "$ca.crt" -keyfile "$ca.key" -in "$pki/$1.csr" -out "$pki/$1.crt"
	cp "$pki/$1.conf" "$ca.conf"
}
authority() {
	local ext='basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n'
	make_key "$pki/$1.key" "${3:-p256}"
	if [ $# -gt 1 ]; then
		sign "$1" "$2" "${ext}authorityKeyIdentifier=keyid\n" 300
	else
		ssl req -x509 -new -key "$pki/$1.key" -subj "/O=Scene/CN=$1" -days 300 -out "$pki/$1.crt" \
			-addext 'keyUsage=critical,keyCertSign,cRLSign'
	fi
}
certificate() {
	make_key "$pki/$1.key" "${4:-p256}"
	sign "$1" "$2" "subjectAltName=$3\nkeyUsage=digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n" "${5:-30}"
	say "certificate $1 by $2 for $3 (${4:-p256})"
}
revocations() {
	local name ca=$pki/$1
	[ -e "$ca.conf" ] || fail "$1 has issued nothing"
	for name in "${@:2}"; do
		ssl ca -config "$ca.conf" -cert "$ca.crt" -keyfile "$ca.key" -revoke "$pki/$name.crt"
	done
	ssl ca -config "$ca.conf" -cert "$ca.crt" -keyfile "$ca.key" -gencrl -out "$ca.crl"
}

# The directory of a host's daemon, made as that daemon wants it.
keys_of() {
	case ${daemon[$1]} in
	oakd) echo "$work/$1/keys" ;;
	iked) echo /etc/iked ;;
	strongswan) echo "$work/$1" ;; # swanctl looks beside its file
	esac
}
# libreswan has a database: authorities by their names, a host's certificate with its key.
put_nss() { # host folder name file
	local file=$work/$1/own
	nss "$1"
	case $2 in
	ca) nss_tool certutil -A -d "sql:$work/$1/nss" -n "$3" -t CT,, -i "$4" ;;
	certs) nss_tool certutil -A -d "sql:$work/$1/nss" -n "$3" -t ,, -i "$4" ;;
	private)
		ssl pkcs12 -export -passout pass: -name own -inkey "$4" -in "${4%.key}.crt" -out "$file.p12"
		nss_tool pk12util -d "sql:$work/$1/nss" -W '' -i "$file.p12"
		;;
	esac
}
put() { # host folder-of-oakd-and-iked folder-of-strongswan name file
	local dir
	[ "${daemon[$1]}" != libreswan ] || { put_nss "$1" "$2" "$4" "$5"; return; }
	dir=$(keys_of "$1")
	case ${daemon[$1]} in
	strongswan) dir=$dir/$3 ;;
	*) dir=$dir/$2 ;;
	esac
	mkdir -p "$dir"
	if [ "$2" = private ]; then
		(umask 077 && cat "$5" >"$dir/$4")
	else
		cat "$5" >>"$dir/$4" # public: OpenIKED reads them as an ordinary user
	fi
}
trusts() { local ca; for ca in "${@:2}"; do put "$1" ca x509ca "$([ "${daemon[$1]}" = iked ] && echo ca || echo "$ca").crt" "$pki/$ca.crt"; done; }
sends() { local ca; for ca in "${@:2}"; do put "$1" certs x509ca "$ca.crt" "$pki/$ca.crt"; done; }
owns() {
	[ "${daemon[$1]}" != libreswan ] || { put_nss "$1" private own "$pki/$2.key"; return; }
	put "$1" certs x509 "$2.crt" "$pki/$2.crt"
	put "$1" private private local.key "$pki/$2.key"
	[ "${daemon[$1]}" != iked ] || ssl pkey -in "$pki/$2.key" -pubout -out /etc/iked/local.pub
}
knows_revoked() { put "$1" crls x509crl "$([ "${daemon[$1]}" = iked ] && echo ca || echo "$2").crl" "$pki/$2.crl"; }
answered() {
	local ca=$pki/$2
	ssl ocsp -issuer "$ca.crt" -cert "$pki/$3.crt" -no_nonce -reqout "$pki/$3.request"
	ssl ocsp -index "$ca.index" -CA "$ca.crt" -rsigner "$ca.crt" -rkey "$ca.key" -ndays 1 \
		-reqin "$pki/$3.request" -respout "$pki/$3.answer"
	mkdir -p "$(keys_of "$1")/ocsp"
	cp "$pki/$3.answer" "$(keys_of "$1")/ocsp/$3.der"
}
raw() {
	[ -e "$pki/$2.key" ] || make_key "$pki/$2.key" "${3:-p256}"
	ssl pkey -in "$pki/$2.key" -pubout -out "$pki/$2.pub"
	put "$1" private private local.key "$pki/$2.key"
	case ${daemon[$1]} in
	iked) cp "$pki/$2.pub" /etc/iked/local.pub ;;
	strongswan) put "$1" - pubkey "$2.pub" "$pki/$2.pub" ;;
	esac
}
raw_peer() { # host identity name
	ssl pkey -in "$pki/$3.key" -pubout -out "$pki/$3.pub"
	put "$1" pubkeys/fqdn pubkey "$([ "${daemon[$1]}" = strongswan ] && echo "$3.pub" || echo "$2")" "$pki/$3.pub"
}
# own_ca WORD...: `oakctl ca vpn WORD...`, its directory beside the others.
own_ca() {
	mkdir -p "$pki"
	"$OAKD_PROGRAMS/oakctl" -q --ssl "$pki" ca vpn "$@" >>"$pki/log" 2>&1 || fail "oakctl ca vpn $*: $(tail -n 1 "$pki/log")"
}

# The verbs people expect, thin over cargo. For GNU make and for the make of the BSDs.

PREFIX = /usr/local
DESTDIR =
CARGO = cargo
# Where cargo leaves what it built.
BUILT != echo $${CARGO_TARGET_DIR:-target}/release
# A folder's name or a pattern of names under regress/live, for `make interop`.
SCENARIO = *

# Where each system keeps manual pages and start scripts.
MANDIR != case `uname -s` in OpenBSD) echo man ;; *) echo share/man ;; esac
RCFILE != case `uname -s` in OpenBSD) echo rc.d/openbsd/oakd ;; FreeBSD) echo rc.d/freebsd/oakd ;; esac
RCDIR != case `uname -s` in OpenBSD) echo /etc/rc.d ;; FreeBSD) echo $(PREFIX)/etc/rc.d ;; esac

all:
	$(CARGO) build --locked --release

demo:
	regress/util/need build live
	regress/live/demo

test:
	regress/util/test-all

interop:
	regress/util/need build live
	regress/live/run '$(SCENARIO)'

cross:
	regress/util/need cross
	regress/cross/setup
	regress/cross/build

fuzz:
	regress/util/need build fuzz
	OAKD_FUZZ_SECONDS=$${OAKD_FUZZ_SECONDS:-60} $(CARGO) test --locked --release --test fuzz -- --nocapture
	OAKD_FUZZ_SECONDS=$${OAKD_FUZZ_SECONDS:-60} regress/fuzz/guided/run

bench:
	-uptime # whatever else runs makes the figures worse
	$(CARGO) bench --locked --workspace
	regress/bench/peers

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	regress/util/test-all lint_manuals

install: all
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/share/examples/oakd
	install -d $(DESTDIR)$(PREFIX)/$(MANDIR)/man5 $(DESTDIR)$(PREFIX)/$(MANDIR)/man8
	install -m 755 $(BUILT)/oakd $(BUILT)/oakctl $(DESTDIR)$(PREFIX)/sbin/
	install -m 644 man/oakd.conf.5 $(DESTDIR)$(PREFIX)/$(MANDIR)/man5/
	install -m 644 man/oakd.8 man/oakctl.8 $(DESTDIR)$(PREFIX)/$(MANDIR)/man8/
	install -m 600 rc.d/oakd.conf.example $(DESTDIR)$(PREFIX)/share/examples/oakd/oakd.conf
	if [ -n "$(RCFILE)" ]; then \
		install -d $(DESTDIR)$(RCDIR) && \
		sed 's|@PREFIX@|$(PREFIX)|' $(RCFILE) >$(DESTDIR)$(RCDIR)/oakd && \
		chmod 555 $(DESTDIR)$(RCDIR)/oakd; \
	fi

clean:
	$(CARGO) clean
	rm -rf regress/live/out

.PHONY: all demo test interop cross fuzz bench lint install clean

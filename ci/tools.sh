# Sourced by the gates in this folder, never run.
# shellcheck shell=bash

# Everything a gate fetches goes here; deleting the folder makes the next run fetch it anew, in its newest version.
tools=${ANTIPHON_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/antiphon/tools}
gate=${0##*/}

# A gate that cannot run here says so and passes: it must not stop work on a machine it was not made for.
not_run() {
    echo "NOT RUN $gate: $*"
    exit 0
}

failed() {
    printf '\nFAILED %s: %s\n' "$gate" "$*" >&2
    exit 1
}

# Debian's own build of a recent rustc comes with the sources of std, from which cargo can make the std of any target:
# the way to check for a target whose ready-made std cannot be had. The packages are unpacked, not installed, and apt
# keeps its lists in our folder, so no root is needed and the system stays as it is.
# Afterwards: cargo and rustc on PATH are Debian's, and `-Zbuild-std` works.
use_debian_rust() {
    [ -e "$tools/debian-rust/usr/bin/cargo" ] || fetch_debian_rust
    local libraries=("$tools"/debian-rust/usr/lib/*-linux-gnu*)
    export PATH="$tools/debian-rust/usr/bin:$PATH" LD_LIBRARY_PATH="${libraries[0]}"
    export RUSTC_BOOTSTRAP=1 # -Z options on a stable rustc
    unset RUSTUP_TOOLCHAIN RUSTC RUSTC_WRAPPER RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
}

fetch_debian_rust() {
    command -v apt-get >/dev/null && command -v apt-cache >/dev/null && command -v dpkg >/dev/null ||
        not_run "there is no apt to fetch a Rust with std's sources from"
    local partial version packages
    mkdir -p "$tools"
    partial=$(mktemp -d "$tools/debian-rust.partial-XXXXXX") # one of our own: two gates may run at once
    # shellcheck disable=SC2064 # expanded now, as `partial` is gone by then
    trap "rm -rf '$partial'" EXIT
    mkdir -p "$partial/apt/lists/partial" "$partial/apt/archives/partial" "$partial/debs" "$partial/root"
    local own=(-o "Dir::State::Lists=$partial/apt/lists" -o "Dir::Cache=$partial/apt" -o APT::Sandbox::User=root)

    echo "fetching Debian's rustc, cargo and the sources of std into $tools (once; about 15 s and 0.9 GB)"
    # One broken source among several is no reason to give up: what counts is whether the packages turn up.
    apt-get "${own[@]}" -qq update >"$partial/log" 2>&1 || true
    # The newest version that all of them have; a version written down here would soon be gone from the archive.
    local wanted=(rustc-web cargo-web rust-web-src libstd-rust-web-dev)
    version=$(for package in "${wanted[@]}"; do
        apt-cache "${own[@]}" madison "$package" 2>/dev/null | awk '{ print $3 }' | sort -u
    done | sort -V | uniq -c | awk -v all="${#wanted[@]}" '$1 == all { newest = $2 } END { print newest }') || true
    [ -n "$version" ] || not_run "apt offers no set of ${wanted[*]} (no network, or not a Debian that has them)"
    # apt works out which libraries are missing here; --reinstall names the packages even where they are installed.
    packages=$(apt-get "${own[@]}" -s install --reinstall --no-install-recommends "${wanted[@]/%/=$version}" 2>>"$partial/log" |
        sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p') || true
    [ -n "$packages" ] || not_run "apt cannot work out what rustc-web $version needs: $(tail -n 1 "$partial/log")"
    # shellcheck disable=SC2086 # one word a package
    (cd "$partial/debs" && apt-get "${own[@]}" -qq download $packages) ||
        not_run "the packages could not be fetched (no network?)"
    for package in "$partial"/debs/*.deb; do dpkg -x "$package" "$partial/root"; done
    [ -e "$tools/debian-rust" ] || mv "$partial/root" "$tools/debian-rust"
}

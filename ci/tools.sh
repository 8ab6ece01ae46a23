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

# Has the programs of Debian's packages on PATH: `need PROGRAM PACKAGE...` for each that is missing.
need() {
    local program=$1 root=""
    shift
    command -v "$program" >/dev/null && return
    command -v apt-get >/dev/null || not_run "$program is missing: install it"
    [ "$(id -u)" = 0 ] || root="sudo -n"
    [ -z "$root" ] || $root true 2>/dev/null || not_run "$program is missing, and installing $* wants a password"
    # An index that cannot be updated may still be good enough.
    $root apt-get update -qq || true
    $root apt-get install -qq -y --no-install-recommends "$@" >/dev/null || not_run "$* could not be installed"
}

# Whether the rustc on PATH has a ready-made std for a target.
has_std() {
    local libraries
    libraries=$(rustc --print target-libdir --target "$1" 2>/dev/null) && compgen -G "$libraries/libstd-*" >/dev/null
}

# A Rust for these targets: the one on PATH if it has their std, or rustup can add it; otherwise Debian's, which makes
# std from its sources. Afterwards `build_std` is what cargo has to be told.
# NOT RUN only where there is neither: no rustup, no apt, no such packages, or no network to fetch them (once).
use_std_of() {
    local target lacking=()
    build_std=()
    for target in "$@"; do has_std "$target" || lacking+=("$target"); done
    [ "${#lacking[@]}" -gt 0 ] || return 0
    if command -v rustup >/dev/null && [ -z "${ANTIPHON_STD_FROM_SOURCE:-}" ]; then
        echo "fetching std for ${lacking[*]} by rustup (once; a few seconds)"
        if rustup --quiet target add "${lacking[@]}" 2>/dev/null; then return; fi
    fi
    use_debian_rust
    build_std=("-Zbuild-std=std,panic_unwind")
    # std's own dependencies, into cargo's usual registry, by way of an empty package: a crate of ours that cannot be
    # fetched is a failure, but these few are part of the set-up.
    if [ ! -e "$tools/debian-rust/std-fetched" ]; then
        mkdir -p "$tools/empty/src"
        printf '[package]\nname = "empty"\nedition = "2021"\n' >"$tools/empty/Cargo.toml"
        : >"$tools/empty/src/lib.rs"
        cargo fetch --quiet --manifest-path "$tools/empty/Cargo.toml" "${build_std[@]}" --target "$1" ||
            not_run "the crates that std is made of could not be fetched (no network?)"
        touch "$tools/debian-rust/std-fetched"
    fi
}

# Zig from PyPI is a C compiler and a linker for every system, with their headers and stubs of their libraries, in one
# package; cargo-zigbuild puts it behind cargo. Both in one version, so that they fit each other.
# Afterwards: `cargo zigbuild`, `cargo-zigbuild test` and "$zig" work.
use_zig() {
    if [ ! -x "$tools/zig/bin/cargo-zigbuild" ]; then
        python3 -m pip --version >/dev/null 2>&1 ||
            not_run "python3 has no pip to fetch zig with (Debian: apt install python3-pip)"
        echo "fetching zig from PyPI into $tools (once; about 30 s and 0.4 GB)"
        mkdir -p "$tools"
        local partial
        partial=$(mktemp -d "$tools/zig.partial-XXXXXX") # one of our own: two gates may run at once
        # shellcheck disable=SC2064 # expanded now, as `partial` is gone by then
        trap "rm -rf '$partial'" EXIT
        python3 -m pip install --quiet --target "$partial/zig" ziglang==0.17.1 cargo-zigbuild==0.24.0 ||
            not_run "ziglang and cargo-zigbuild could not be fetched from PyPI (no network?)"
        [ -e "$tools/zig" ] || mv "$partial/zig" "$tools/zig"
        rm -rf "$partial"
    fi
    zig=$tools/zig/ziglang/zig
    export PATH="$tools/zig/bin:$PATH" CARGO_ZIGBUILD_ZIG_PATH=$zig CARGO_ZIGBUILD_CACHE_DIR=$tools/zig-cache/cargo
    export ZIG_GLOBAL_CACHE_DIR=$tools/zig-cache ZIG_LOCAL_CACHE_DIR=$tools/zig-cache
    # Without debugging information the builds are half as large. cargo would then strip std's with a tool that
    # Debian's Rust does not bring.
    export CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0
    export CARGO_PROFILE_DEV_STRIP=none CARGO_PROFILE_TEST_STRIP=none CARGO_PROFILE_RELEASE_STRIP=none
}

# Unpacks Debian's PACKAGES, and nothing that they need, to $tools/FOLDER: `use_debian FOLDER PACKAGE...`
use_debian() {
    local folder=$1 partial own package
    shift
    [ ! -e "$tools/$folder" ] || return 0
    partial_with_apt
    echo "fetching Debian's $* into $tools (once)"
    (cd "$partial/debs" && apt-get "${own[@]}" -qq download "$@" >>"$partial/log" 2>&1) ||
        not_run "apt could not fetch $*: $(tail -n 1 "$partial/log")"
    for package in "$partial"/debs/*.deb; do dpkg -x "$package" "$partial/root"; done
    [ -e "$tools/$folder" ] || mv "$partial/root" "$tools/$folder"
    rm -rf "$partial"
}

# A folder to fetch to, `partial`, and the options with which apt keeps its lists there, `own`; both the caller's.
partial_with_apt() {
    command -v apt-get >/dev/null && command -v apt-cache >/dev/null && command -v dpkg >/dev/null ||
        not_run "there is no apt to fetch Debian's packages with"
    mkdir -p "$tools"
    partial=$(mktemp -d "$tools/debian.partial-XXXXXX") # one of our own: two gates may run at once
    # shellcheck disable=SC2064 # expanded now, as `partial` is gone by then
    trap "rm -rf '$partial'" EXIT
    mkdir -p "$partial/apt/lists/partial" "$partial/apt/archives/partial" "$partial/debs" "$partial/root"
    own=(-o "Dir::State::Lists=$partial/apt/lists" -o "Dir::Cache=$partial/apt" -o APT::Sandbox::User=root)
    # One broken source among several is no reason to give up: what counts is whether the packages turn up.
    apt-get "${own[@]}" -qq update >"$partial/log" 2>&1 || true
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
    local partial own version packages
    partial_with_apt
    echo "fetching Debian's rustc, cargo and the sources of std into $tools (once; about 15 s and 0.9 GB)"
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
    rm -rf "$partial"
}

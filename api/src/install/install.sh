#!/bin/sh
# Installs the Foreshock agent on this host as a systemd service, or takes it away. It comes from a Foreshock server, whose
# address and whose agents' checksums are written into it; nothing else is asked for, and nothing is sent but by the agent.
#
#   curl -fsS http://foreshock.example:9750/install.sh -o install.sh
#   sh install.sh --dry-run
#   sudo sh install.sh --join TOKEN
#
# `sh install.sh --help` lists its options. Nothing happens before the last line, so that half a script does nothing.
set -eu

SERVER='@SERVER@'
SHA256_x86_64='@SHA256_x86_64@'
SHA256_aarch64='@SHA256_aarch64@'

usage() {
    cat <<HELP
usage: sh install.sh [options] [-- options of \`foreshock-agent install\`]

  --server URL       send there instead of to $SERVER
  --token-file FILE  file that holds the token; or say it in FORESHOCK_TOKEN
  --join TOKEN       a join token, for which this host gets a certificate of its own; or say it in FORESHOCK_JOIN
  --ca-file FILE     certificates (PEM) that alone may vouch for the server
  --pin sha256:...   fingerprint of the server's own authority, as the server prints it
  --binary FILE      the agent, fetched before: nothing is fetched (offline)
  --sha256 DIGITS    its checksum, instead of the one that the server wrote into this script
  --root DIR         install into the image in DIR instead of on this host
  --dry-run          say what would be done, fetch and change nothing
  --uninstall        take the agent away, with its settings and its spool
HELP
}

say() {
    printf '%s\n' "$*"
}

fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

# fetch URL FILE WHOM: WHOM is anybody, or a file of certificates, or nothing for the authorities that this host believes.
fetch() {
    if command -v curl > /dev/null; then
        case $3 in
        '') curl -fsS --max-time 300 -o "$2" "$1" ;;
        anybody) curl -fsSk --max-time 60 -o "$2" "$1" ;;
        *) curl -fsS --cacert "$3" --max-time 300 -o "$2" "$1" ;;
        esac
    elif command -v wget > /dev/null; then
        case $3 in
        '') wget -q -T 60 -O "$2" "$1" ;;
        anybody) wget -q -T 60 --no-check-certificate -O "$2" "$1" ;;
        *) wget -q -T 60 --ca-certificate="$3" -O "$2" "$1" ;;
        esac
    else
        fail "neither curl nor wget is here; fetch $1 by other means and give it as --binary"
    fi || fail "cannot fetch $1"
}

sum_of() {
    sha256sum "$1" | cut -d ' ' -f 1
}

# Whom to believe that he is the server: prints the third argument of fetch.
trusted() {
    if [ -n "$pin" ]; then
        # Nothing is sent to whoever answers here, and the pin says whether it is the right one.
        fetch "$server/-/ca.pem" "$work/ca.pem" anybody
        sed -e '/-----/d' "$work/ca.pem" | base64 -d > "$work/ca.der" || fail "$server/-/ca.pem is no certificate"
        found=sha256:$(sum_of "$work/ca.der")
        [ "$found" = "$pin" ] || fail "$server has the authority $found, and not $pin: somebody stands in between, or it was set up anew"
        say "$work/ca.pem"
    else
        say "$ca_file"
    fi
}

architecture() {
    [ "$(uname -s)" = Linux ] || fail "the agent runs on Linux, and this is $(uname -s)"
    case $(uname -m) in
    x86_64 | amd64) say x86_64 ;;
    aarch64 | arm64) say aarch64 ;;
    *) fail "there is no agent for $(uname -m)" ;;
    esac
}

# The agent as a file that has been compared with its checksum.
obtain() {
    machine=$(architecture)
    if [ -z "$sha256" ]; then
        case $machine in
        x86_64) sha256=$SHA256_x86_64 ;;
        aarch64) sha256=$SHA256_aarch64 ;;
        esac
    fi
    if [ -z "$binary" ] && [ -z "$sha256" ]; then
        fail "$SERVER has no agent for $machine: start it with --agent-dir, or give the agent as --binary with its --sha256"
    fi
    [ -n "$sha256" ] || fail "the checksum of $binary is not known: give it as --sha256"
    if [ -z "$binary" ]; then
        if [ "$dry_run" = yes ]; then
            say "fetch $server/-/agent/$machine"
            say "compare it with the SHA-256 $sha256"
            return
        fi
        whom=$(trusted)
        binary=$work/foreshock-agent
        fetch "$server/-/agent/$machine" "$binary" "$whom"
    fi
    found=$(sum_of "$binary")
    [ "$found" = "$sha256" ] || fail "$binary has the SHA-256 $found, and not $sha256: it is not the server's agent; nothing was done"
    # What was compared is what runs, whatever happens to the file meanwhile.
    if [ "$binary" != "$work/foreshock-agent" ]; then
        cp "$binary" "$work/foreshock-agent"
        [ "$(sum_of "$work/foreshock-agent")" = "$sha256" ] || fail "$binary changed while it was read; nothing was done"
        binary=$work/foreshock-agent
    fi
    chmod 0755 "$binary"
}

uninstall() {
    installed=$root/usr/local/bin/foreshock-agent
    if [ ! -x "$installed" ]; then
        say "there is no $installed: nothing to take away"
        return
    fi
    # A running file may be removed, not written to: what takes it away is a copy.
    cp "$installed" "$work/foreshock-agent"
    set -- install --uninstall
    [ -z "$root" ] || set -- "$@" --root "$root"
    [ "$dry_run" = no ] || set -- "$@" --dry-run
    "$work/foreshock-agent" "$@"
}

main() {
    server=$SERVER token_file='' ca_file='' pin='' binary='' sha256='' root='' dry_run=no remove=no
    while [ $# -gt 0 ]; do
        case $1 in
        --server | --token-file | --join | --ca-file | --pin | --binary | --sha256 | --root)
            [ $# -ge 2 ] || fail "$1 wants a value"
            case $1 in
            --server) server=${2%/} ;;
            --token-file) token_file=$2 ;;
            # In the environment `ps` does not show it.
            --join) export FORESHOCK_JOIN="$2" ;;
            --ca-file) ca_file=$2 ;;
            --pin) pin=$2 ;;
            --binary) binary=$2 ;;
            --sha256) sha256=$2 ;;
            --root) root=$2 ;;
            esac
            shift 2
            ;;
        --dry-run) dry_run=yes && shift ;;
        --uninstall) remove=yes && shift ;;
        --help | -h) usage && return ;;
        --) shift && break ;;
        *) fail "$1 is no option; --help lists them" ;;
        esac
    done
    [ -z "$pin" ] || [ -z "$ca_file" ] || fail "--pin and --ca-file both say whom to believe: give one of them"
    [ "$dry_run" = yes ] || [ -n "$root" ] || [ "$(id -u)" = 0 ] ||
        fail "this needs root: run it with sudo; --dry-run shows what it would do"

    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    if [ "$remove" = yes ]; then
        uninstall
        return
    fi
    if [ -n "${FORESHOCK_TOKEN:-}" ] && [ -z "$token_file" ]; then
        token_file=$work/token
        (umask 077 && printf '%s\n' "$FORESHOCK_TOKEN" > "$token_file")
    fi
    obtain
    set -- install --server "$server" "$@"
    [ -z "$token_file" ] || set -- "$@" --token-file "$token_file"
    [ -z "$ca_file" ] || set -- "$@" --ca-file "$ca_file"
    [ -z "$pin" ] || set -- "$@" --pin "$pin"
    [ -z "$root" ] || set -- "$@" --root "$root"
    if [ "$dry_run" = yes ]; then
        set -- "$@" --dry-run
        if [ -z "$binary" ]; then
            say "run foreshock-agent $*"
            return
        fi
    fi
    "$binary" "$@"
    if [ "$dry_run" = no ] && [ -z "$root" ]; then
        say "this host's page: $server/hosts/$(uname -n)"
    fi
}

main "$@"

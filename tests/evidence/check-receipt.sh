#!/usr/bin/env bash
# Checks by hand that a record is in a log: leaf hash, path, root and the signature over it.
# Uses nothing but the shell, coreutils and openssl.
#
#   check-receipt.sh RECEIPT RECORD KEY
#
# RECEIPT is a .tlog-proof (C2SP tlog-proof v1), RECORD the exact bytes of the record (one newline at its
# end is not part of it), KEY the log's verifier key: name+id+base64. Ends with 0 when the record is
# in the log, else says what is wrong and ends with 1.
set -euo pipefail
export LC_ALL=C

fail() { printf 'NOT SHOWN: %s\n' "$1" >&2; exit 1; }
[ $# -eq 3 ] || { printf 'usage: %s RECEIPT RECORD KEY\n' "$0" >&2; exit 2; }
receipt=$1 record=$2 key=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Hashes are hexadecimal text here; bytes are made of it only to be hashed.
bytes() { # HEX
    local hex=$1 out=
    while [ -n "$hex" ]; do out+="\\x${hex:0:2}"; hex=${hex:2}; done
    printf '%b' "$out"
}
hash() { sha256sum | cut -c1-64; }
hex() { od -An -v -tx1 | tr -d ' \n'; }

# The receipt: a header, perhaps extra data (which nobody vouches for), the index, the path, an
# empty line, and the signed checkpoint.
split=$(grep -n -m1 '^$' "$receipt" | cut -d: -f1) || fail "the receipt has no checkpoint"
head -n $((split - 1)) "$receipt" > "$work/proof"
tail -n +$((split + 1)) "$receipt" > "$work/note"
[ "$(sed -n 1p "$work/proof")" = "c2sp.org/tlog-proof@v1" ] || fail "this is no receipt"
line=2
case $(sed -n 2p "$work/proof") in extra\ *) line=3 ;; esac
index=$(sed -n "${line}s/^index \([0-9]*\)$/\1/p" "$work/proof")
[ -n "$index" ] || fail "the receipt names no index"
tail -n +$((line + 1)) "$work/proof" > "$work/path"

# The checkpoint: three lines of text, an empty line, and signatures. What is signed is the text with
# its last newline.
head -n 3 "$work/note" > "$work/text"
[ -z "$(sed -n 4p "$work/note")" ] || fail "the checkpoint has more than three lines"
origin=$(sed -n 1p "$work/text")
size=$(sed -n 2p "$work/text")
root=$(sed -n 3p "$work/text" | base64 -d | hex)
case $size in '' | *[!0-9]*) fail "the checkpoint has no size" ;; esac
[ "$index" -lt "$size" ] || fail "record $index is not in a log of $size records"

# The key: its id is the beginning of SHA-256(name, newline, type, public key); type 1 is Ed25519.
name=${key%%+*}
rest=${key#*+}
id=${rest%%+*}
public=$(printf %s "${rest#*+}" | base64 -d | hex)
[ "$name" = "$origin" ] || fail "the checkpoint is of $origin, the key of $name"
[ "${public:0:2}" = 01 ] && [ ${#public} -eq 66 ] || fail "the key is no Ed25519 key"
[ "$({ printf '%s\n' "$name"; bytes "$public"; } | hash | cut -c1-8)" = "$id" ] || fail "the key has another id"
bytes "302a300506032b6570032100${public:2}" > "$work/der"
openssl pkey -pubin -inform DER -in "$work/der" -out "$work/pem" 2> "$work/said" || fail "$(cat "$work/said")"

# The signature by that key: an em dash, the name, and base64 of the id and 64 bytes.
signed=no
while read -r dash signer signature; do
    [ "$dash" = "$(printf '\342\200\224')" ] && [ "$signer" = "$name" ] || continue
    whole=$(printf %s "$signature" | base64 -d | hex)
    [ "${whole:0:8}" = "$id" ] || continue
    bytes "${whole:8}" > "$work/signature"
    openssl pkeyutl -verify -pubin -inkey "$work/pem" -rawin -in "$work/text" -sigfile "$work/signature" \
        > /dev/null 2>&1 || fail "the signature is not over this checkpoint"
    signed=yes
done < <(tail -n +5 "$work/note")
[ "$signed" = yes ] || fail "the log has not signed this checkpoint"

# The path from the leaf to the root (RFC 9162 section 2.1.3.2): 00 before a leaf, 01 before a node.
size_of_record=$(wc -c < "$record")
if [ "$size_of_record" -gt 0 ] && [ "$(tail -c 1 "$record" | hex)" = 0a ]; then size_of_record=$((size_of_record - 1)); fi
found=$({ printf '\000'; head -c "$size_of_record" "$record"; } | hash)
leaf=$found
node=$index last=$((size - 1))
while read -r sibling; do
    sibling=$(printf %s "$sibling" | base64 -d | hex)
    [ "$last" -gt 0 ] || fail "the path is too long"
    if [ $((node & 1)) -eq 1 ] || [ "$node" -eq "$last" ]; then
        found=$({ printf '\001'; bytes "$sibling$found"; } | hash)
        while [ $((node & 1)) -eq 0 ] && [ "$node" -ne 0 ]; do node=$((node >> 1)) last=$((last >> 1)); done
    else
        found=$({ printf '\001'; bytes "$found$sibling"; } | hash)
    fi
    node=$((node >> 1)) last=$((last >> 1))
done < "$work/path"
[ "$last" -eq 0 ] || fail "the path is too short"
[ "$found" = "$root" ] || fail "the path leads to $found, not to the root $root"

printf 'record %s of %s, leaf hash %s, is in the log as signed over %s records\n' "$index" "$origin" "$leaf" "$size"

// A second implementation: reads what `token-ledger export --tiles` wrote with the packages by which
// the Go project reads its checksum database, and with nothing of ours.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

var passed, failed int

func check(what string, err error) {
	if err != nil {
		failed++
		fmt.Printf("FAIL  %s: %v\n", what, err)
		return
	}
	passed++
	fmt.Printf("ok    %s\n", what)
}

// The height of a tile: 256 hashes.
const height = 8

// A directory of tiles, as tlog.TileHashReader reads it. The package names level 0 of a log
// "tile/8/0/...", C2SP leaves the height out; partial tiles are named alike.
type directory struct{ path string }

func (d directory) Height() int { return height }

func (d directory) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		name := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(d.path, name))
		if err != nil {
			full := tile
			full.W = 1 << height
			data, err = os.ReadFile(filepath.Join(d.path, strings.Replace(full.Path(), "tile/8/", "tile/", 1)))
			if err != nil {
				return nil, err
			}
			data = data[:tile.W*tlog.HashSize]
		}
		all = append(all, data)
	}
	return all, nil
}

// The hashes only count once the reader has authenticated them, so there is nothing to keep.
func (d directory) SaveTiles([]tlog.Tile, [][]byte) {}

type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for _, index := range indexes {
		hashes = append(hashes, s[index])
	}
	return hashes, nil
}

// The exact bytes of all records, from the bundles.
func records(dir string, size int64) ([][]byte, error) {
	var all [][]byte
	for n := int64(0); int64(len(all)) < size; n++ {
		width := min(256, size-n*256)
		// The path of a bundle is that of a tile of level 0.
		path := tlog.Tile{H: height, L: 0, N: n, W: int(width)}.Path()
		path = strings.Replace(path, "tile/8/0/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return nil, err
		}
		for len(data) > 0 {
			if len(data) < 2 {
				return nil, fmt.Errorf("%s is cut off", path)
			}
			length := int(binary.BigEndian.Uint16(data))
			if len(data) < 2+length {
				return nil, fmt.Errorf("%s is cut off", path)
			}
			all = append(all, data[2:2+length])
			data = data[2+length:]
		}
		if int64(len(all)) != min(size, n*256+256) {
			return nil, fmt.Errorf("%s has another number of records", path)
		}
	}
	return all, nil
}

// A C2SP checkpoint; the package's own tlog.ParseTree wants another first line.
func parse(text string) (string, tlog.Tree, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 {
		return "", tlog.Tree{}, fmt.Errorf("a checkpoint has three lines: %q", text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return "", tlog.Tree{}, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return "", tlog.Tree{}, fmt.Errorf("root %q: %v", lines[2], err)
	}
	return lines[0], tlog.Tree{N: size, Hash: tlog.Hash(root)}, nil
}

func chain(all [][]byte) error {
	for i, record := range all {
		var read struct {
			Seq  int64  `json:"seq"`
			Prev string `json:"prev"`
		}
		if err := json.Unmarshal(record, &read); err != nil {
			return fmt.Errorf("record %d: %v", i, err)
		}
		prev := ""
		if i > 0 {
			leaf := tlog.RecordHash(all[i-1])
			prev = base64.RawURLEncoding.EncodeToString(leaf[:])
		}
		if read.Seq != int64(i) || read.Prev != prev {
			return fmt.Errorf("record %d says it is %d after %q", i, read.Seq, read.Prev)
		}
	}
	return nil
}

func equal(what string, found, expected tlog.Hash) error {
	if found != expected {
		return fmt.Errorf("%s is %v, not %v", what, found, expected)
	}
	return nil
}

func audit(dir, vkey string) {
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	check("the checkpoint is there", err)
	verifier, err := note.NewVerifier(vkey)
	check("the verifier key is read", err)
	if err != nil {
		return
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	check("the log's signature opens the note", err)
	if err != nil {
		return
	}
	origin, tree, err := parse(opened.Text)
	check("the note is a checkpoint", err)
	if origin != verifier.Name() {
		check("the origin is the name of the key", fmt.Errorf("%s, %s", origin, verifier.Name()))
	}
	all, err := records(dir, tree.N)
	check(fmt.Sprintf("the bundles hold %d records", tree.N), err)
	check("each record names its place and the hash of the one before", chain(all))

	// Every hash anew, from the records.
	var hashes stored
	for i, record := range all {
		more, err := tlog.StoredHashes(int64(i), record, hashes)
		if err != nil {
			check("stored hashes", err)
			return
		}
		hashes = append(hashes, more...)
	}
	root, err := tlog.TreeHash(tree.N, hashes)
	if err == nil {
		err = equal("the root", root, tree.Hash)
	}
	check("the records have the root that was signed", err)

	// Every tile, as the package makes it, is the file.
	tiles := 0
	err = nil
	for _, tile := range tlog.NewTiles(height, 0, tree.N) {
		data, failure := tlog.ReadTileData(tile, hashes)
		if failure == nil {
			var files [][]byte
			files, failure = directory{dir}.ReadTiles([]tlog.Tile{tile})
			if failure == nil && !bytes.Equal(files[0], data) {
				failure = fmt.Errorf("%s differs", tile.Path())
			}
		}
		if failure != nil && err == nil {
			err = failure
		}
		tiles++
	}
	check(fmt.Sprintf("the %d tiles are what the records give", tiles), err)

	// The client's way: nothing but the checkpoint is believed, each tile is authenticated.
	reader := tlog.TileHashReader(tree, directory{dir})
	err = nil
	for i := int64(0); i < tree.N && err == nil; i++ {
		var proof tlog.RecordProof
		if proof, err = tlog.ProveRecord(tree.N, i, reader); err == nil {
			err = tlog.CheckRecord(proof, tree.N, tree.Hash, i, tlog.RecordHash(all[i]))
		}
	}
	check("each record is proven to be in the log, by authenticated tiles", err)
	err = nil
	step := max(tree.N/50, 1)
	for old := int64(1); old <= tree.N && err == nil; old += step {
		var before tlog.Hash
		var proof tlog.TreeProof
		if before, err = tlog.TreeHash(old, hashes); err == nil {
			if proof, err = tlog.ProveTree(tree.N, old, reader); err == nil {
				err = tlog.CheckTree(proof, tree.N, tree.Hash, old, before)
			}
		}
	}
	check("the log extends its earlier selves", err)
	refuses(dir, tree, all, signed, verifier)
}

// What was changed is not believed: else all of the above would prove little.
func refuses(dir string, tree tlog.Tree, all [][]byte, signed []byte, verifier note.Verifier) {
	refused := func(what string, err error) {
		if err == nil {
			check(what, fmt.Errorf("it was believed"))
		} else {
			check(what, nil)
		}
	}
	other := append([]byte{}, signed...)
	other[bytes.IndexByte(other, '\n')+1] ^= 1
	_, err := note.Open(other, note.VerifierList(verifier))
	refused("a checkpoint of another size is refused", err)
	reader := tlog.TileHashReader(tree, directory{dir})
	proof, err := tlog.ProveRecord(tree.N, 0, reader)
	check("a proof is made", err)
	changed := sha256.Sum256(append([]byte{0}, append([]byte("x"), all[0]...)...))
	refused("another record is refused", tlog.CheckRecord(proof, tree.N, tree.Hash, 0, tlog.Hash(changed)))
	wrong := tree
	wrong.Hash[0] ^= 1
	_, err = tlog.ProveRecord(tree.N, 0, tlog.TileHashReader(wrong, directory{dir}))
	refused("tiles under another root are refused", err)
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: evidence DIR VKEY")
		os.Exit(2)
	}
	audit(os.Args[1], os.Args[2])
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

// The transparency ecosystem's own programs against the real binary, unmodified: Torchwood's client
// and Tessera's fsck read our live log, litewitness cosigns it, and Tessera asks our witness.
package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"filippo.io/torchwood"
	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"k8s.io/klog/v2"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

var passed, failed int

func check(what string, err error) bool {
	if err != nil {
		failed++
		fmt.Printf("FAIL  %s: %v\n", what, err)
		return false
	}
	passed++
	fmt.Printf("ok    %s\n", what)
	return true
}

func need[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	}
	return value
}

func verifier(vkey string) note.Verifier { return need(note.NewVerifier(vkey)) }

func cosigner(vkey string) note.Verifier { return need(fnote.NewVerifierForCosignatureV1(vkey)) }

func get(address string) ([]byte, error) {
	answer, err := http.Get(address)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", address, answer.Status)
	}
	return io.ReadAll(answer.Body)
}

// The newest checkpoint, once it has at least `size` records and both keys have signed it: the log
// signs each second, and a witness is asked in the background.
func cosigned(log, vkey, witness string, size int64) (torchwood.Checkpoint, error) {
	var last error
	for range 150 {
		signed, err := get(log + "/checkpoint")
		if err != nil {
			return torchwood.Checkpoint{}, err
		}
		opened, err := note.Open(signed, note.VerifierList(verifier(vkey), cosigner(witness)))
		if err != nil {
			return torchwood.Checkpoint{}, err
		}
		checkpoint, err := torchwood.ParseCheckpoint(opened.Text)
		if err != nil || (len(opened.Sigs) == 2 && size <= checkpoint.N) {
			return checkpoint, err
		}
		last = fmt.Errorf("no cosignature over %d records came: %s", size, signed)
		time.Sleep(100 * time.Millisecond)
	}
	return torchwood.Checkpoint{}, last
}

// Every record over HTTP, believed only as far as the checkpoint goes.
func readAll(log string, tree tlog.Tree) error {
	fetcher := need(torchwood.NewTileFetcher(log))
	reader := need(torchwood.NewClient(fetcher))
	next := int64(0)
	// The client leaves an unfinished tile for later, until it is all that is left.
	for next < tree.N {
		before := next
		for index, record := range reader.Entries(context.Background(), tree, next) {
			var read struct {
				Seq int64 `json:"seq"`
			}
			if err := json.Unmarshal(record, &read); err != nil || read.Seq != index || index != next {
				return fmt.Errorf("record %d of the client says it is %d: %v", index, read.Seq, err)
			}
			next++
		}
		if err := reader.Err(); err != nil {
			return err
		}
		if next == before {
			return fmt.Errorf("the client came to record %d of %d", next, tree.N)
		}
	}
	for _, index := range []int64{0, tree.N / 2, tree.N - 1} {
		record, proof, err := reader.Entry(context.Background(), tree, index)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(record)); err != nil {
			return err
		}
	}
	return nil
}

func leaves(data []byte) ([][]byte, error) {
	var bundle api.EntryBundle
	if err := bundle.UnmarshalText(data); err != nil {
		return nil, err
	}
	var hashes [][]byte
	for _, entry := range bundle.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

func read(log, vkey, witness string, size int64) {
	checkpoint, err := cosigned(log, vkey, witness, size)
	if !check(fmt.Sprintf("litewitness cosigns %d records of the live log", checkpoint.N), err) {
		return
	}
	what := fmt.Sprintf("Torchwood's client reads all %d records over HTTP", checkpoint.N)
	check(what, readAll(log, checkpoint.Tree))
	other := checkpoint.Tree
	other.Hash[0] ^= 1
	if readAll(log, other) == nil {
		check("under another root it reads nothing", fmt.Errorf("it was believed"))
	} else {
		check("under another root it reads nothing", nil)
	}
	fetcher := need(client.NewHTTPFetcher(need(url.Parse(log+"/")), nil))
	whole := fsck.New(checkpoint.Origin, verifier(vkey), fetcher, leaves, fsck.Opts{N: 2})
	check("Tessera's fsck finds every tile of the live log right", whole.Check(context.Background()))
}

// litewitness with a key of its own in an agent in memory, knowing one log. Ends with its input.
func litewitness(program, dir, origin, vkey string) {
	private := need2(ed25519.GenerateKey(rand.Reader))
	keyring := agent.NewKeyring()
	need(0, keyring.Add(agent.AddedKey{PrivateKey: private}))
	socket := filepath.Join(dir, "agent")
	listener := need(net.Listen("unix", socket))
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(keyring, connection)
		}
	}()
	signer := need(torchwood.NewCosignatureSigner("litewitness.example", private))
	fingerprint := ssh.FingerprintSHA256(need(ssh.NewPublicKey(private.Public())))

	database := filepath.Join(dir, "litewitness.db")
	// It names no port that the system chose, so one is chosen for it.
	probe := need(net.Listen("tcp", "127.0.0.1:0"))
	address := probe.Addr().String()
	need(0, probe.Close())
	command := exec.Command(program, "-name", "litewitness.example", "-db", database,
		"-ssh-agent", socket, "-key", fingerprint, "-listen", address)
	command.Stderr = need(os.Create(filepath.Join(dir, "litewitness.log")))
	need(0, command.Start())
	defer func() {
		command.Process.Kill()
		command.Wait()
	}()
	for i := 0; ; i++ {
		if _, err := get("http://" + address + "/"); err == nil {
			break
		} else if i == 100 {
			fmt.Fprintln(os.Stderr, "error: litewitness does not answer:", err)
			command.Process.Kill()
			os.Exit(2)
		}
		time.Sleep(100 * time.Millisecond)
	}
	// What its witnessctl does; that program needs a module that is not served everywhere.
	rows := need(sqlite.OpenConn(database, 0))
	empty := tlog.Hash(rfc6962.DefaultHasher.EmptyRoot())
	need(0, sqlitex.Execute(rows, "INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)",
		&sqlitex.ExecOptions{Args: []any{origin, empty.String()}}))
	need(0, sqlitex.Execute(rows, "INSERT INTO key (origin, key) VALUES (?, ?)",
		&sqlitex.ExecOptions{Args: []any{origin, vkey}}))
	need(0, rows.Close())
	fmt.Printf("ready %s http://%s\n", signer.Verifier().String(), address)
	io.Copy(io.Discard, os.Stdin)
}

func need2(_ ed25519.PublicKey, private ed25519.PrivateKey, err error) ed25519.PrivateKey {
	return need(private, err)
}

// A Tessera log of three batches, each published only with the cosignature of our witness.
func submit(dir, skey, vkey, witness, address string) {
	err := appended(filepath.Join(dir, "log"), skey, vkey, witness, address, 3)
	check("Tessera publishes three checkpoints with our witness's cosignature", err)
	// A second log under the same key is a fork of the first.
	err = appended(filepath.Join(dir, "fork"), skey, vkey, witness, address, 1)
	if err == nil {
		check("Tessera gets no cosignature for a fork of its log", fmt.Errorf("it was cosigned"))
	} else {
		check("Tessera gets no cosignature for a fork of its log", nil)
	}
}

func appended(path, skey, vkey, witness, address string, batches int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if batches == 1 {
		ctx, cancel = context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
	}
	driver, err := posix.New(ctx, posix.Config{Path: path})
	if err != nil {
		return err
	}
	asked, err := tessera.NewWitness(witness, need(url.Parse(address)))
	if err != nil {
		return err
	}
	options := tessera.NewAppendOptions().WithCheckpointSigner(need(note.NewSigner(skey))).
		WithCheckpointInterval(200*time.Millisecond).WithBatching(16, 50*time.Millisecond).
		WithWitnesses(tessera.NewWitnessGroup(1, asked), nil)
	appender, _, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return err
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 50*time.Millisecond)
	size := int64(0)
	for batch := range batches {
		var future tessera.IndexFuture
		for entry := range 5 {
			future = appender.Add(ctx, tessera.NewEntry(fmt.Appendf(nil, "%s %d %d", path, batch, entry)))
		}
		_, signed, err := awaiter.Await(ctx, future)
		if err != nil {
			return err
		}
		opened, err := note.Open(signed, note.VerifierList(verifier(vkey), cosigner(witness)))
		if err != nil {
			return err
		}
		checkpoint, err := torchwood.ParseCheckpoint(opened.Text)
		if err != nil || len(opened.Sigs) != 2 || checkpoint.N <= size {
			return fmt.Errorf("%d signatures over size %d: %v", len(opened.Sigs), checkpoint.N, err)
		}
		size = checkpoint.N
	}
	return nil
}

func main() {
	klogFlags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(klogFlags)
	need(0, klogFlags.Set("logtostderr", "false"))
	need(0, klogFlags.Set("stderrthreshold", "FATAL"))
	klog.SetOutput(&bytes.Buffer{})
	arguments := os.Args[1:]
	switch {
	case len(arguments) == 2 && arguments[0] == "key":
		skey, vkey, err := note.GenerateKey(rand.Reader, arguments[1])
		need(0, err)
		fmt.Printf("%s\n%s\n", skey, vkey)
		return
	case len(arguments) == 5 && arguments[0] == "litewitness":
		litewitness(arguments[1], arguments[2], arguments[3], arguments[4])
		return
	case len(arguments) == 5 && arguments[0] == "read":
		size := need(strconv.ParseInt(arguments[4], 10, 64))
		read(arguments[1], arguments[2], arguments[3], size)
	case len(arguments) == 6 && arguments[0] == "submit":
		submit(arguments[1], arguments[2], arguments[3], arguments[4], arguments[5])
	default:
		fmt.Fprintln(os.Stderr, "usage: ecosystem key NAME | litewitness PROGRAM DIR ORIGIN VKEY |\n"+
			"  read LOG_URL VKEY WITNESS_VKEY SIZE | submit DIR SKEY VKEY WITNESS_VKEY WITNESS_URL")
		os.Exit(2)
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

"""Receives a file of a session, as receiver.c does, from Python: by ctypes alone, nothing to compile.

usage: receiver.py SESSION FILE TO
"""
import ctypes
import os
import subprocess
import sys
from ctypes import POINTER, byref, c_char_p, c_int32, c_size_t, c_uint32, c_uint64, c_void_p

OK, END, READ = 0, 2, 1


class Block(ctypes.Structure):
    """shmem_block"""

    _fields_ = [
        ("data", c_void_p), ("len", c_size_t), ("offset", c_uint64), ("again", c_uint32), ("reserved", c_uint32),
        ("token", c_uint64), ("reserved_too", c_uint64),
    ]


def load():
    """The library, from where pkg-config says that it is."""
    command = ["pkg-config", "--variable=libdir", "antiphon"]
    folder = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    name = "libantiphon.0.dylib" if sys.platform == "darwin" else "libantiphon.so.0"
    library = ctypes.CDLL(os.path.join(folder, name))
    for function, returns, takes in [
        ("antiphon_error_text", c_char_p, []),
        ("shmem_session_connect", c_int32, [c_uint64, c_void_p, POINTER(c_void_p)]),
        ("shmem_session_close", c_int32, [c_void_p]),
        ("shmem_open", c_int32, [c_void_p, c_char_p, c_uint32, c_void_p, POINTER(c_void_p)]),
        ("shmem_block_claim", c_int32, [c_void_p, POINTER(Block)]),
        ("shmem_block_complete", c_int32, [c_void_p, POINTER(Block), c_size_t]),
        ("shmem_close", c_int32, [c_void_p]),
    ]:
        getattr(library, function).restype = returns
        getattr(library, function).argtypes = takes
    return library


def main(session_id, name, to):
    antiphon = load()

    def check(error, *expected):
        if error not in (OK, *expected):
            sys.exit(f"receiver.py: {antiphon.antiphon_error_text().decode()}")
        return error

    session, file, block, count = c_void_p(), c_void_p(), Block(), 0
    check(antiphon.shmem_session_connect(int(session_id, 16), None, byref(session)))
    check(antiphon.shmem_open(session, name.encode(), READ, None, byref(file)))
    with open(to, "wb") as out:
        while check(antiphon.shmem_block_claim(file, byref(block)), END) == OK:
            # In place: the file is written from the shared memory itself.
            view = memoryview((ctypes.c_char * block.len).from_address(block.data))
            out.seek(block.offset)
            out.write(view)
            count += block.len
            check(antiphon.shmem_block_complete(file, byref(block), 0))
    print(f"receiver.py: {count} bytes", file=sys.stderr)
    antiphon.shmem_close(file)
    antiphon.shmem_session_close(session)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])

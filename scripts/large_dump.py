#!/usr/bin/env python3
"""Repeats the rows of a Posts.xml under new ids until the file is as large as wanted, to measure 'understudy ingest'.

  scripts/large_dump.py beer/Posts.xml 60 > large/Posts.xml
"""
import re
import sys

source, megabytes = sys.argv[1], float(sys.argv[2])
with open(source, encoding="utf-8-sig") as file:
    rows = [line for line in file if line.lstrip().startswith("<row ")]
step = 1 + max(int(re.search(r'\bId="(\d+)"', row).group(1)) for row in rows)
ids = re.compile(r'( (?:Id|ParentId|AcceptedAnswerId)=")(\d+)(")')
out = sys.stdout
out.write('\ufeff<?xml version="1.0" encoding="utf-8"?>\r\n<posts>\r\n')
written, copy = 0, 0
while written < megabytes * 1e6:
    for row in rows:
        # The attributes come first; a body could hold the same words only behind an escaped quote.
        row = ids.sub(lambda match: f"{match[1]}{int(match[2]) + copy * step}{match[3]}", row)
        written += len(row.encode())
        out.write(row)
    copy += 1
out.write("</posts>")

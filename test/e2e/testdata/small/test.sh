#!/bin/sh
# Reaches the one service by its name.
set -e
echo "web says: $(wget -q -T 5 -O - http://web:8080/)"

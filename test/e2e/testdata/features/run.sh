#!/bin/sh
echo "ran as $(id -u)"

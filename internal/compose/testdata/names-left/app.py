import my_db
host = my_db
connect(host="my_db", database="my_db")
connect("my_db", 5432)
my_db.run("my_db")

from jaxecon.cli.entry import main

if __name__ == "__main__":
    main()
